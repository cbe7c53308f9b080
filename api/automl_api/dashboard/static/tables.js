// From tables of a page to their charts.

import { drawSensitivity, ready } from "./charts.js";

const drawnOf = new Map(); // id of a chart -> text of the table that it was drawn from

// Draws the chart `id` from the rows of the table `id-table`, where they changed since.
// read: from rows to a function that draws into a target.
export function drawFrom(id, read) {
  const table = document.getElementById(`${id}-table`);
  const rows = [...(table?.querySelectorAll("tbody tr") ?? [])];
  if (!rows.length || drawnOf.get(id) === table.textContent) return;
  drawnOf.set(id, table.textContent);
  read(rows)(document.getElementById(id));
}

// Has everything drawn anew, such as in another width.
export function forgetDrawn() {
  drawnOf.clear();
}

export function drawSensitivityTable() {
  drawFrom("sensitivity", (rows) => {
    const order = [...new Set(rows.map((row) => row.dataset.group))];
    const uncut = rows[0].closest("table").dataset.uncut;
    const point = (group, sparsity, accuracy) => ({ group, order: order.indexOf(group), sparsity, accuracy });
    const starts = uncut ? order.map((group) => point(group, 0, +uncut)) : [];
    const points = [...starts, ...rows.map(({ dataset }) => point(dataset.group, +dataset.sparsity, +dataset.accuracy))];
    return (target) => drawSensitivity(target, points);
  });
}

// Draws as soon as that is possible, and again once the window has another width.
export async function keepDrawn(draw) {
  await ready;
  let timer;
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's address bar that comes and goes
    width = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => {
      forgetDrawn();
      draw();
    }, 150);
  });
  draw();
}
