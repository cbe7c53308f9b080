// One network: its coupled channels, its sensitivity, the job in stages, policies that its user brings.

import { drawMap } from "./channel_map.js";
import { addressOf } from "./addresses.js";
import { send, sendForms, trouble } from "./live.js";
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

async function bring(form) {
  const [file] = form.elements.policy.files;
  const [weights] = form.elements.weights.files;
  let content;
  try {
    content = JSON.parse(await file.text());
  } catch (error) {
    return { problem: { detail: `${file.name} is not JSON: ${error.message}` } };
  }
  const body = { model_id: form.dataset.model, document: content };
  if (weights) {
    const address = addressOf(`v1/files?name=${encodeURIComponent(weights.name)}`);
    const { problem, told } = await send(address, { body: weights, headers: { "Content-Type": "application/octet-stream" } });
    if (problem) return { problem };
    body.weights_file_id = told.id;
  }
  return send(addressOf("v1/policies"), { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
}

sendForms((job) => location.assign(addressOf(`jobs/${job.id}`)));

document.getElementById("bring").addEventListener("submit", async (event) => {
  event.submitter.disabled = true;
  const { problem, told } = await bring(event.target);
  event.submitter.disabled = false;
  if (problem) trouble(problem.detail);
  else location.assign(addressOf(`policies/${told.id}`));
});
