// One policy: the waterfall of its layers, its evaluations on other data, and files in further formats.

import { drawWaterfall, ready } from "./charts.js";
import { copyOnClick } from "./copying.js";
import { refresh, sendForms, steer } from "./live.js";
import { keepDrawn } from "./tables.js";

const EVERY_MS = 2000;

const axes = document.getElementById("axes");
const rows = [...document.querySelectorAll("#layers-table tbody tr")];

function draw() {
  const chosen = axes.querySelector("input:checked");
  const metric = chosen.value.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const costs = rows.map(({ dataset }) => ({
    name: dataset.name,
    before: Number(dataset[`${metric}Before`]),
    after: Number(dataset[`${metric}After`]),
  }));
  const uncut = costs.reduce((sum, cost) => sum + cost.before, 0);
  const steps = [{ name: "uncut", from: 0, to: uncut, isTotal: true }];
  let left = uncut;
  for (const cost of costs.filter((each) => each.before !== each.after)) {
    steps.push({ name: cost.name, from: left, to: left + cost.after - cost.before, isTotal: false });
    left += cost.after - cost.before;
  }
  steps.push({ name: "compressed", from: 0, to: left, isTotal: true });
  drawWaterfall(document.getElementById("waterfall"), steps, chosen.parentElement.textContent.trim());
}

// Goes on for as long as a job on the policy does.
async function follow() {
  if (document.hidden || (await refresh())) {
    if (!document.querySelector("#evaluations progress, #files progress")) return;
  }
  setTimeout(follow, EVERY_MS);
}

sendForms(follow);
steer(follow);
if (document.querySelector("#evaluations progress, #files progress")) setTimeout(follow, EVERY_MS);
copyOnClick();
keepDrawn(draw);

await ready;
axes.addEventListener("input", draw);
