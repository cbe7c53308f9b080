// One job: its stream of events feeds the front; everything else is patched from the page itself.

/* global d3 */

import { drawBars, drawFront, drawHeat, percent } from "./charts.js";
import { showProgress } from "./progress.js";
import { refresh, SILENT, steer, trouble } from "./live.js";
import { drawFrom, drawSensitivityTable, forgetDrawn } from "./tables.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const REDRAW_MS = 250;
const REFRESH_MS = 1500;

const trials = new Map(); // number -> what its event told
const confirmed = new Map();
const axes = document.getElementById("axes");
const limit = document.getElementById("limit");
const shown = document.getElementById("progress-shown");
let stream;
let lastSeq = 0;

const later = (delayMs, act) => {
  let timer;
  return () => (timer ??= setTimeout(() => ((timer = undefined), requestAnimationFrame(act)), delayMs));
};
const redrawSoon = later(REDRAW_MS, redrawFront);
const refreshSoon = later(REFRESH_MS, () => update());

async function update(isWhole = false) {
  if (isWhole) forgetDrawn();
  await refresh(isWhole);
  drawTables();
  redrawSoon();
}

function job() {
  return document.getElementById("job").dataset;
}

// ---------------------------------------------------------------- the front

function visiblePoints() {
  const told = job();
  const metric = axes.elements.metric.value;
  const full = Number(told[metric.replace(/_(.)/g, (_, letter) => letter.toUpperCase())]);
  const isAccuracy = axes.elements.quality.value === "accuracy";
  const images = Number(told.images) || undefined;
  const isPortfolio = told.searcher === "portfolio";
  const point = (number, cost, y, isConfirmed, told = {}) => ({
    ...told,
    number,
    cost: cost[metric],
    x: cost[metric] / full,
    y,
    isConfirmed,
    text: `trial ${number}${isConfirmed ? ", confirmed" : ""}\n${y.toFixed(4)}\n${percent(cost[metric] / full)} of ${costName()}`,
  });
  const points = [];
  for (const each of trials.values()) {
    if (images !== undefined && each.images < images) continue;
    const searcher = isPortfolio ? each.note.split(":")[0] : "all trials";
    const more = { evaluations: each.evaluations, accuracy: each.accuracy, searcher };
    points.push(point(each.number, each.cost, isAccuracy ? each.accuracy : each.score, false, more));
  }
  for (const each of confirmed.values()) {
    points.push(point(each.number, each.test.cost, isAccuracy ? each.test.accuracy : each.search.score, true));
  }
  return points;
}

function costName() {
  return axes.querySelector("input[name=metric]:checked").parentElement.textContent.trim();
}

function frontOf(points) {
  const rising = points.filter((each) => !each.isConfirmed).sort((a, b) => a.x - b.x || b.y - a.y);
  const front = [];
  for (const each of rising) if (!front.length || each.y > front.at(-1).y) front.push(each);
  return front;
}

function redrawFront() {
  const points = visiblePoints();
  const metric = axes.elements.metric.value;
  document.getElementById("limit-text").textContent = `${limit.value} % of ${costName()}?`;
  const target = document.getElementById("front");
  if (!points.length) {
    target.textContent = "No candidate was measured yet.";
    return;
  }
  const isAccuracy = axes.elements.quality.value === "accuracy";
  const hasUncut = job().uncut !== "" && (isAccuracy || job().signal === "accuracy");
  const front = frontOf(points);
  const hidden = drawFront(target, {
    points,
    front,
    limit: limit.value / 100,
    budgets: metric === job().metric ? job().ratios.split(" ").map(Number) : [],
    uncut: hasUncut ? Number(job().uncut) : undefined,
    xLabel: `${costName()} kept`,
    yLabel: isAccuracy ? "accuracy" : `score (${job().signal.replace("_", " ")})`,
    choose,
  });
  fillFrontTable([...points.filter((each) => each.isConfirmed), ...front]);
  sayWhatIf(front, hidden);
  redrawProgress(points.filter((each) => !each.isConfirmed));
}

function redrawProgress(points) {
  const kind = shown.elements.kind.value;
  const isAccuracy = kind === "hypervolume" || axes.elements.quality.value === "accuracy";
  showProgress(document.getElementById("progress"), document.querySelector("#progress-table tbody"), {
    points: kind === "hypervolume" ? points.map((each) => ({ ...each, y: each.accuracy })) : points,
    ratios: axes.elements.metric.value === job().metric ? job().ratios.split(" ").map(Number) : [1],
    kind,
    yLabel: isAccuracy ? "accuracy" : `score (${job().signal.replace("_", " ")})`,
  });
}

function fillFrontTable(points) {
  const rows = points.map((each) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    const link = document.createElement("a");
    head.scope = "row";
    link.href = `?trial=${each.number}#chosen`;
    link.dataset.trial = each.number;
    link.textContent = each.number;
    head.append(link);
    row.append(head);
    const texts = [each.isConfirmed ? "confirmed" : "searched", d3.format(",")(each.cost), percent(each.x), each.y.toFixed(4)];
    texts.forEach((text, place) => {
      const cell = document.createElement("td");
      if (place > 0) cell.className = "number";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  });
  const body = document.querySelector("#front-table tbody");
  if (!body.contains(document.activeElement)) body.replaceChildren(...rows);
}

function bestWithin(front) {
  return front.findLast((each) => each.x <= limit.value / 100 + 1e-9);
}

function sayWhatIf(front, hidden) {
  const best = bestWithin(front);
  const smallest = front[0];
  let text = "";
  if (best) text = `The best that fits is trial ${best.number}: ${best.y.toFixed(4)} at ${percent(best.x)}.`;
  else if (smallest) text = `Nothing that was measured fits; the smallest, trial ${smallest.number}, keeps ${percent(smallest.x)}.`;
  if (hidden) text += ` ${hidden} much worse ${hidden === 1 ? "trial lies" : "trials lie"} below the picture.`;
  const line = document.getElementById("what-if");
  if (line.textContent !== text) line.textContent = text;
}

// ---------------------------------------------------- charts of the page's tables

function drawTables() {
  drawFrom("bars", (rows) => {
    const bars = rows.map(({ dataset }) => ({ group: dataset.group, kept: +dataset.kept, channels: +dataset.channels }));
    return (target) => drawBars(target, bars);
  });
  drawFrom("heat", (rows) => {
    const cells = rows.flatMap((row) =>
      [...row.querySelectorAll("td[data-group]")].map(({ dataset }) => ({
        trial: row.dataset.trial,
        label: `${"front" in row.dataset ? "◆ " : ""}${row.dataset.trial}`,
        group: dataset.group,
        kept: +dataset.kept,
      })),
    );
    return (target) => drawHeat(target, cells, choose);
  });
  drawSensitivityTable();
}

// ------------------------------------------------------------------ the stream

function listen() {
  const address = new URL(job().stream, location.href);
  address.searchParams.set("after", lastSeq);
  stream = new EventSource(address);
  stream.addEventListener("open", () => trouble(""));
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) {
      trouble(SILENT);
      return;
    }
    setTimeout(async () => (await refresh()) && listen(), 3000); // a session that ran out leads away
  });
  const on = (kind, act) =>
    stream.addEventListener(kind, (message) => {
      const event = JSON.parse(message.data);
      lastSeq = event.seq;
      act(event.data);
      redrawSoon();
      if (event.seq > Number(job().seq)) refreshSoon();
    });
  on("trial.completed", (data) => data.role === "candidate" && trials.set(data.number, data));
  on("trial.confirmed", (data) => confirmed.set(data.number, data));
  on("job.status", (data) => {
    if (!ENDED.includes(data.state)) return;
    stream.close();
    if (!ENDED.includes(job().status)) update(true);
  });
  for (const kind of ["trial.started", "trial.failed", "baseline.confirmed"]) on(kind, () => {});
}

function choose(number) {
  const address = new URL(location.href);
  address.searchParams.set("trial", number);
  address.hash = "";
  go(address);
}

function go(address) {
  history.pushState(null, "", address);
  update();
}

steer(() => update(true));
axes.addEventListener("input", redrawFront);
shown.addEventListener("input", redrawFront);
shown.addEventListener("submit", (event) => event.preventDefault());
axes.addEventListener("submit", (event) => event.preventDefault());
limit.addEventListener("change", () => {
  const best = bestWithin(frontOf(visiblePoints()));
  if (best) choose(best.number);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-trial], a[data-stay], nav.pages a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(new URL(link.href));
  if (link.dataset.trial) document.getElementById("chosen").scrollIntoView({ block: "nearest" });
});
window.addEventListener("popstate", () => update());
window.addEventListener("resize", later(REDRAW_MS, () => (forgetDrawn(), drawTables(), redrawFront())));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.close();
  else if (!ENDED.includes(job().status)) {
    update();
    listen();
  }
});

drawTables();
redrawFront();
listen();
