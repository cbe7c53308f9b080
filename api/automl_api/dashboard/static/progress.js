// How the best came about: what a search had reached after so many evaluations.

/* global d3 */

import { drawProgress, percent } from "./charts.js";

// points: {evaluations, x, y, searcher}, in the order in which they came; ratios: the budgets.
// Returns the steps of the best y within each budget: {line, evaluations, value}.
function bestWithin(points, ratios) {
  const steps = [];
  for (const ratio of ratios) {
    let best = -Infinity;
    for (const point of points) {
      if (point.x > ratio + 1e-9 || point.y <= best) continue;
      best = point.y;
      steps.push({ line: `within ${percent(ratio)}`, evaluations: point.evaluations, value: best });
    }
  }
  return steps;
}

// The area that the points so far dominate: above nothing right, left of the uncut network's
// cost. One line for each searcher, where several take part.
function hypervolume(points) {
  const steps = [];
  for (const [searcher, own] of d3.group(points, (point) => point.searcher)) {
    let front = [];
    for (const point of own) {
      if (front.some((each) => each.x <= point.x && each.y >= point.y)) continue;
      front = front.filter((each) => each.x < point.x || each.y > point.y);
      front.push(point);
      front.sort((a, b) => a.x - b.x);
      const area = front.reduce((sum, each, place) => sum + each.y * ((front[place + 1]?.x ?? 1) - each.x), 0);
      steps.push({ line: searcher, evaluations: point.evaluations, value: area });
    }
  }
  return steps;
}

export function showProgress(target, table, { points, ratios, kind, yLabel }) {
  const steps = kind === "best" ? bestWithin(points, ratios) : hypervolume(points);
  if (!steps.length) {
    target.textContent = "No candidate was measured yet.";
    return;
  }
  const end = Math.max(...points.map((point) => point.evaluations));
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
