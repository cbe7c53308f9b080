// How the best came about: what a search had reached after so many evaluations.

/* global d3 */

import { drawProgress, percent } from "./charts.js";
import { columns } from "./points.js";

// points: {x, y, place}, in the order in which they came; ratios: the budgets.
// Returns the steps of the best within each budget: {line, evaluations, value}.
function bestWithin(points, ratios) {
  const steps = [];
  for (const ratio of ratios) {
    let best = -Infinity;
    for (const point of points) {
      if (point.x > ratio + 1e-9 || point.y <= best) continue;
      best = point.y;
      steps.push({ line: `within ${percent(ratio)}`, evaluations: columns.evaluations[point.place], value: best });
    }
  }
  return steps;
}

// The area that the points so far dominate: above nothing right, left of the uncut network's
// cost. One line for each searcher, where several take part.
function hypervolume(points, isBySearcher) {
  const steps = [];
  const lineOf = ({ place }) => (isBySearcher ? columns.searcher[place] : "all trials");
  for (const [line, own] of d3.group(points, lineOf)) {
    let front = [];
    for (const { x, place } of own) {
      const y = columns.accuracy[place];
      if (front.some((each) => each.x <= x && each.y >= y)) continue;
      front = front.filter((each) => each.x < x || each.y > y);
      front.push({ x, y });
      front.sort((a, b) => a.x - b.x);
      const area = front.reduce((sum, each, index) => sum + each.y * ((front[index + 1]?.x ?? 1) - each.x), 0);
      steps.push({ line, evaluations: columns.evaluations[place], value: area });
    }
  }
  return steps;
}

export function showProgress(target, table, { points, ratios, isBySearcher, kind, yLabel }) {
  const steps = kind === "best" ? bestWithin(points, ratios) : hypervolume(points, isBySearcher);
  if (!steps.length) {
    target.textContent = "No candidate was measured yet.";
    return;
  }
  const end = columns.evaluations.at(-1);
  const lines = [...d3.group(steps, (step) => step.line).values()];
  const lasting = lines.flatMap((own) => [...own, { ...own.at(-1), evaluations: end }]);
  drawProgress(target, { steps: lasting, yLabel: kind === "best" ? yLabel : "hypervolume" });
  table.replaceChildren(...lines.flatMap((own) => own.slice(-10).reverse().map(row)));
}

function row(step) {
  const made = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = step.line;
  const cells = [step.evaluations.toFixed(1), step.value.toFixed(4)].map((text) => {
    const cell = document.createElement("td");
    cell.className = "number";
    cell.textContent = text;
    return cell;
  });
  made.append(head, ...cells);
  return made;
}
