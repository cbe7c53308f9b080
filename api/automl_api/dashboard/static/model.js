// One network: its coupled channels, and its sensitivity.

import { drawMap } from "./channel_map.js";
import { drawFrom, drawSensitivityTable, keepDrawn } from "./tables.js";

function listed(row, kind) {
  return [...row.querySelectorAll(`[data-kind=${kind}] li`)].map((item) => item.textContent);
}

keepDrawn(() => {
  const layers = [...document.querySelectorAll("#layers-table tbody tr")].map(({ dataset }) => ({
    name: dataset.name,
    isWhole: "whole" in dataset,
  }));
  drawFrom("groups", (rows) => {
    const groups = rows.map((row) => ({
      name: row.dataset.group,
      channels: +row.dataset.channels,
      lane: +row.dataset.lane,
      producers: listed(row, "producers"),
      consumers: listed(row, "consumers"),
    }));
    return (target) => drawMap(target, layers, groups);
  });
  drawSensitivityTable();
});
