// The front of cost and score: its picture, its table, and what would fit another budget.

/* global d3 */

import { drawFront, percent } from "./charts.js";
import { columns, pointsBy, searchers } from "./points.js";
import { showProgress } from "./progress.js";
import { looks, PORTFOLIO, showLegend } from "./searchers.js";

const axes = document.getElementById("axes");
const limit = document.getElementById("limit");
const shown = document.getElementById("progress-shown");
let drawn = { searched: [], confirmed: [], front: [] };
const REDRAW = "redraw"; // the mark by which the benchmark knows when one began
let listed = ""; // what the table shows

function job() {
  return document.getElementById("job").dataset;
}

function costName() {
  return axes.querySelector("input[name=metric]:checked").parentElement.textContent.trim();
}

function qualityName() {
  return axes.elements.quality.value === "accuracy" ? "accuracy" : `score (${job().signal.replace("_", " ")})`;
}

export function fullCost() {
  const metric = axes.elements.metric.value.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  return Number(job()[metric]);
}

// choose: is called with the number of the trial whose point was clicked.
export function redrawFront(choose) {
  const metric = axes.elements.metric.value;
  performance.mark(REDRAW);
  drawn = pointsBy(metric, fullCost(), axes.elements.quality.value);
  sayLimit();
  const target = document.getElementById("front");
  if (!drawn.searched.length && !drawn.confirmed.length) {
    target.textContent = "No candidate was measured yet.";
    performance.clearMarks(REDRAW);
    return;
  }
  const isAccuracy = axes.elements.quality.value === "accuracy";
  const told = (value) => (value !== "" && (isAccuracy || job().signal === "accuracy") ? Number(value) : undefined);
  const counts = searchers();
  const known = looks([...counts.keys()]);
  drawn.hidden = drawFront(target, {
    ...drawn,
    nameOf: searcherOf,
    limit: limit.value / 100,
    budgets: metric === job().metric ? budgets() : [],
    uncut: told(job().uncut),
    accuracyFloor: told(job().accuracyFloor),
    xLabel: `${costName()} kept`,
    yLabel: qualityName(),
    look: isBySearcher() ? (point) => known.get(searcherOf(point)) : undefined,
    choose,
  });
  requestAnimationFrame(() => performance.clearMarks(REDRAW));
  setTimeout(() => {
    if (isBySearcher()) showLegend(document.getElementById("searchers"), known, counts);
    fillTable([...drawn.confirmed, ...drawn.front], `${metric} ${axes.elements.quality.value}`);
    sayWhatIf();
  });
}

function isBySearcher() {
  return job().searcher === PORTFOLIO;
}

function searcherOf(point) {
  return columns.searcher[point.place] ?? "";
}

function budgets() {
  return job().ratios.split(" ").map(Number);
}

export function redrawProgress() {
  const kind = shown.elements.kind.value;
  showProgress(document.getElementById("progress"), document.querySelector("#progress-table tbody"), {
    points: drawn.searched,
    ratios: axes.elements.metric.value === job().metric ? budgets() : [1],
    isBySearcher: isBySearcher(),
    kind,
    yLabel: qualityName(),
  });
}

// axes: which figures the rows have.
function fillTable(points, axes) {
  const wanted = `${axes} ${points.map((each) => `${each.isConfirmed} ${each.number}`)}`;
  if (wanted === listed) return;
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
    const cost = d3.format(",")(each.cost);
    const texts = [each.isConfirmed ? "confirmed" : "searched", searcherOf(each), cost, percent(each.x), each.y.toFixed(4)];
    texts.forEach((text, place) => {
      const cell = document.createElement("td");
      if (place > 1) cell.className = "number";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  });
  const body = document.querySelector("#front-table tbody");
  if (body.contains(document.activeElement)) return;
  body.replaceChildren(...rows);
  listed = wanted;
}

// Returns the best point of the front within the what-if budget.
export function bestWithin() {
  return drawn.front.findLast((each) => each.x <= limit.value / 100 + 1e-9);
}

export function sayLimit() {
  const cost = d3.format(",.0f")((limit.value / 100) * fullCost());
  document.getElementById("limit-text").textContent = `${limit.value} % of ${costName()} (${cost})?`;
}

function sayWhatIf() {
  const [best, smallest] = [bestWithin(), drawn.front[0]];
  let text = "";
  if (best) text = `The best that fits is trial ${best.number}: ${best.y.toFixed(4)} at ${percent(best.x)}.`;
  else if (smallest) text = `Nothing that was measured fits; the smallest, trial ${smallest.number}, keeps ${percent(smallest.x)}.`;
  if (drawn.hidden) text += ` ${drawn.hidden} much worse ${drawn.hidden === 1 ? "trial lies" : "trials lie"} below the picture.`;
  const line = document.getElementById("what-if");
  if (line.textContent !== text) line.textContent = text;
}
