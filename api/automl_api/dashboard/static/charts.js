// The charts. Each is drawn from a table of the page, or from points that a table shows, too.

/* global Plot, d3 */

import { RING } from "./searchers.js";

// Reading the libraries takes long: they wait until the page has been painted, and drawing for them.
export const ready = (async () => {
  await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
  await import("./vendor/d3.min.js");
  await import("./vendor/plot.umd.min.js");
})();

const FONT_PX = 12;

// Draws now, and shows it in the next frame.
export function place(target, label, options) {
  const width = Math.max(280, target.clientWidth);
  const drawn = Plot.plot({
    className: "chart",
    width,
    ariaLabel: label,
    style: { fontSize: `${FONT_PX}px` },
    marginBottom: 46,
    ...options(width),
  });
  drawn.querySelector("style")?.remove(); // its rules stand in style.css: the page takes no inline one
  drawn.setAttribute("role", "img");
  for (const group of drawn.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
  // In a task of its own: laying out and painting come on top of what it took to draw.
  requestAnimationFrame(() => target.replaceChildren(drawn));
  return drawn;
}

export function longest(names) {
  return Math.min(180, 14 + 6.6 * Math.max(0, ...names.map((name) => name.length)));
}

// As many ticks as do not cover each other: a label of percent is some 60 px wide.
export function ticksIn(width) {
  return Math.max(3, Math.min(8, Math.floor(width / 90)));
}

// searched, confirmed: points {number, x, y}; front: the searched ones that nothing beats, by rising
// x; budgets and limit: places on x; uncut and accuracyFloor: places on y, or undefined.
// nameOf: says whose a point is. look: tells the {symbol, colour, outline} of a point by that, where
// several searchers share the picture.
// Returns how many points lie below the picture.
export function drawFront(target, { searched: all, confirmed, front: whole, limit, budgets, uncut, accuracyFloor, xLabel, yLabel, nameOf, look, choose }) {
  const floor = floorOf(all, confirmed, whole, budgets);
  const front = whole.filter((point) => point.y >= floor);
  const seen = all.filter((point) => point.y >= floor);
  const searched = apart(seen);
  const drawn = place(target, `${yLabel} against ${xLabel}; the table below has the front`, (width) => ({
    height: 360,
    marginLeft: 56,
    x: { label: `${xLabel} →`, labelOffset: 40, tickFormat: "%", ticks: ticksIn(width), nice: true },
    y: { label: `↑ ${yLabel}`, grid: true, nice: true },
    color: { type: "identity" },
    symbol: { type: "identity" },
    marks: [
      uncut === undefined ? null : Plot.ruleY([uncut], { stroke: "currentColor", strokeDasharray: "1 4" }),
      uncut === undefined ? null : Plot.text(["uncut"], { y: [uncut], frameAnchor: "left", dx: 4, dy: -7 }),
      accuracyFloor === undefined ? null : Plot.ruleY([accuracyFloor], { stroke: "currentColor", strokeOpacity: 0.25 }),
      accuracyFloor === undefined ? null : Plot.text(["accuracy floor"], { y: [accuracyFloor], frameAnchor: "left", dx: 4, dy: 8 }),
      Plot.ruleX(budgets, { stroke: "currentColor", strokeOpacity: 0.25 }),
      Plot.ruleX([limit], { stroke: "var(--warm)", strokeDasharray: "5 4" }),
      ...clouds(searched, look),
      Plot.line(front, { x: "x", y: "y", curve: "step-after", stroke: "var(--accent)" }),
      Plot.dot(front, {
        x: "x",
        y: "y",
        r: 4.5,
        symbol: look ? (point) => look(point).symbol : "circle",
        stroke: look ? (point) => look(point).colour : "var(--accent)",
        strokeWidth: 2,
        fill: "var(--raised)",
      }),
      Plot.dot(confirmed, { x: "x", y: "y", r: 6, symbol: "diamond", fill: "var(--good)" }),
      Plot.tip([...searched, ...front, ...confirmed], Plot.pointer({
        x: "x",
        y: "y",
        title: Plot.identity, // of thousands of points, only the text of the one that is pointed at is made
        format: saying(xLabel, nameOf),
        maxRadius: 30,
      })),
    ],
  }));
  drawn.classList.add("point");
  drawn.addEventListener("click", () => drawn.value && choose(drawn.value.number));
  return all.length - seen.length;
}

// steps: {line, evaluations, value}, each line's in order
export function drawProgress(target, { steps, yLabel }) {
  const lines = d3.group(steps, (step) => step.line);
  const names = [...lines.keys()];
  const end = d3.max(steps, (step) => step.evaluations);
  // The first few steps would press the others into one line.
  const least = d3.min(lines.values(), (own) => (own.findLast((step) => step.evaluations <= end / 10) ?? own[0]).value);
  const most = d3.max(steps, (step) => step.value);
  // A search whose first policy stays the best draws a level line, not the last digits of it.
  const domain = d3.nice(Math.min(least, most - Math.abs(most) / 50), most + 1e-6, 5);
  place(target, `${yLabel} against evaluations; the table below has the latest steps`, () => ({
    height: PROGRESS_PX,
    marginLeft: 56,
    marginRight: names.length > 1 ? longest(names) : 20,
    x: { label: "evaluations →", labelOffset: 40, domain: [0, end] },
    y: { label: `↑ ${yLabel}`, grid: true, domain, ticks: 5 },
    color: { domain: names, range: names.map((_, index) => d3.interpolateViridis(0.15 + (0.7 * index) / Math.max(names.length - 1, 1))) },
    marks: [
      Plot.line(steps, { x: "evaluations", y: "value", z: "line", stroke: "line", curve: "step-after", strokeWidth: 1.8, clip: true }),
      names.length > 1 ? endLabels([...lines.values()].map((own) => own.at(-1)), domain) : null,
      Plot.tip(steps.filter((step) => step.value >= domain[0]), Plot.pointer({
        x: "evaluations",
        y: "value",
        title: (step) => `${step.line}\n${step.value.toFixed(4)} after ${step.evaluations.toFixed(1)} evaluations`,
      })),
    ],
  }));
}

const PROGRESS_PX = 240;
const LINE_PX = 13;

// Names at the ends of lines, one below the other where the ends lie close.
function endLabels(ends, domain) {
  const perValue = (PROGRESS_PX - 66) / (domain[1] - domain[0]);
  const rising = [...ends].sort((a, b) => a.value - b.value);
  let last = -Infinity;
  return rising.map((end) => {
    const height = (end.value - domain[0]) * perValue;
    const shown = Math.max(height, last + LINE_PX);
    last = shown;
    return Plot.text([end], { x: "evaluations", y: "value", text: "line", textAnchor: "start", dx: 6, dy: height - shown });
  });
}

const SAMPLED = 1000;

// A few hopeless trials would press all others into one line: what is far below the better nine
// tenths, and below the best within each budget, is left out of the picture. The least of the
// picture is returned.
function floorOf(searched, confirmed, front, budgets) {
  const points = [...searched, ...confirmed];
  const [least, most] = d3.extent(points, (point) => point.y);
  const step = Math.ceil(points.length / SAMPLED); // of many, some tell where the most of them are
  const usual = d3.quantile(points.filter((_, index) => index % step === 0), 0.1, (point) => point.y);
  const spread = Math.max(most - usual, 0.01);
  const isCrowded = points.length > 20 && most - least > 3 * spread && front.length > 0;
  const best = budgets.map((ratio) => front.findLast((point) => point.x <= ratio + 1e-9)?.y ?? most);
  return isCrowded ? Math.min(most - 1.5 * spread, ...best.map((height) => height - 0.5 * spread)) : least;
}

function saying(xLabel, nameOf) {
  return (point) => `trial ${point.number}${point.isConfirmed ? ", confirmed" : ""}, ${nameOf(point)}\n${point.y.toFixed(4)}\n${percent(point.x)} of ${xLabel.replace(" kept", "")}`;
}

const ONE_LOOK = { outline: RING, colour: "currentColor" };
const APART = { columns: 160, rows: 70 }; // cells of about the size of a point

// Of points that would cover each other, one.
function apart(points) {
  const [x, y] = [d3.extent(points, (point) => point.x), d3.extent(points, (point) => point.y)];
  const cells = new Map();
  for (const point of points) {
    const column = Math.round((APART.columns * (point.x - x[0])) / (x[1] - x[0] || 1));
    cells.set(column * 1000 + Math.round((APART.rows * (point.y - y[0])) / (y[1] - y[0] || 1)), point);
  }
  return [...cells.values()];
}

// Marks of hollow points, one path for each look: thousands of elements would take long to lay out.
function clouds(points, look = () => ONE_LOOK) {
  return [...d3.group(points, look)].map(([{ outline, colour }, own]) => (_, { x, y }) => {
    const drawn = d3.create("svg:path").attr("class", "cloud").attr("stroke", colour);
    drawn.attr("d", own.map((point) => `M${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}${outline}`).join(""));
    return drawn.node();
  });
}

// bars: {group, kept, channels, bits}, where bits is a text that may be empty
export function drawBars(target, bars) {
  const names = bars.map((bar) => bar.group);
  const saysBits = bars.some((bar) => bar.bits);
  place(target, "Kept channels of each group; the table below has the numbers", () => ({
    height: 66 + 20 * bars.length,
    marginLeft: longest(names),
    marginRight: saysBits ? longest(bars.map((bar) => bar.bits)) : 20,
    x: { label: "channels →", labelOffset: 40 },
    y: { label: null, domain: names },
    marks: [
      Plot.barX(bars, { x: "channels", y: "group", fill: "var(--cut)" }),
      Plot.barX(bars, { x: "kept", y: "group", fill: "var(--kept)" }),
      Plot.text(saysBits ? bars : [], { x: "channels", y: "group", text: "bits", textAnchor: "start", dx: 5 }),
      Plot.tip(bars, Plot.pointerY({ x: "kept", y: "group", title: (bar) => `${bar.group}: ${bar.kept} of ${bar.channels}` })),
    ],
  }));
}

// cells: {trial, label, group, kept}, where kept is the share that is left
export function drawHeat(target, cells, choose) {
  const trials = [...new Set(cells.map((cell) => cell.label))];
  const groups = [...new Set(cells.map((cell) => cell.group))];
  const drawn = place(target, "Share that is cut of each group in the best trials", () => ({
    height: 24 * trials.length + longest(groups) + 16,
    marginBottom: longest(groups),
    marginLeft: 52,
    padding: 0.06,
    x: { label: null, domain: groups, tickRotate: -90, tickSize: 0 },
    y: { label: "trial", labelAnchor: "top", domain: trials, tickSize: 0 },
    opacity: { type: "linear", domain: [0, 1], range: [0.05, 1] },
    marks: [
      Plot.cell(cells, { x: "group", y: "label", fill: "var(--accent)", fillOpacity: (cell) => 1 - cell.kept }),
      Plot.tip(cells, Plot.pointer({
        x: "group",
        y: "label",
        title: (cell) => `trial ${cell.trial}\n${cell.group}: ${percent(cell.kept)} kept`,
      })),
    ],
  }));
  drawn.classList.add("point");
  drawn.addEventListener("click", () => drawn.value && choose(drawn.value.trial));
}

// points: {group, order, sparsity, accuracy}
export function drawSensitivity(target, points) {
  const ends = d3.groups(points, (point) => point.group).map(([, own]) => own.at(-1));
  const most = d3.max(points, (point) => point.accuracy);
  place(target, "Accuracy against the share that is cut of one group", () => ({
    height: 340,
    marginLeft: 56,
    marginRight: Math.max(20, longest(ends.map((end) => end.group)) - 40),
    x: { label: "cut of the group →", labelOffset: 40, tickFormat: "%", domain: [0, 1] },
    y: { label: "↑ accuracy", tickFormat: "%", grid: true, nice: true },
    color: { type: "linear", interpolate: (share) => d3.interpolateViridis(0.15 + 0.75 * share) },
    marks: [
      Plot.line(points, { x: "sparsity", y: "accuracy", z: "group", stroke: "order", strokeWidth: 1.8 }),
      Plot.dot(points, { x: "sparsity", y: "accuracy", fill: "order", r: 3 }),
      // Those that bear it stay together at the top, where their names would cover each other.
      Plot.text(ends.filter((end) => end.accuracy < most - 0.1), { x: "sparsity", y: "accuracy", text: "group", textAnchor: "start", dx: 6 }),
      Plot.tip(points, Plot.pointer({
        x: "sparsity",
        y: "accuracy",
        title: (point) => `${point.group}\n${percent(point.sparsity)} cut: ${percent(point.accuracy)}`,
      })),
    ],
  }));
}

// steps: {name, from, to, isTotal}, in the order of the network
export function drawWaterfall(target, steps, xLabel) {
  const names = steps.map((step) => step.name);
  place(target, `What each layer saves of ${xLabel}; the table below has the numbers`, () => ({
    height: 66 + 20 * steps.length,
    marginLeft: longest(names),
    marginRight: 24,
    x: { label: `${xLabel} →`, labelOffset: 40, tickFormat: "~s", ticks: 6 },
    y: { label: null, domain: names },
    marks: [
      Plot.barX(steps, { x1: "from", x2: "to", y: "name", fill: (step) => (step.isTotal ? "var(--kept)" : "var(--good)") }),
      Plot.ruleX([0]),
      Plot.tip(steps, Plot.pointerY({
        x: (step) => Math.max(step.from, step.to),
        y: "name",
        title: (step) => `${step.name}\n${step.isTotal ? "" : "saves "}${d3.format(",")(Math.abs(step.to - step.from))}`,
      })),
    ],
  }));
}

export function percent(share) {
  return d3.format(".1%")(share);
}
