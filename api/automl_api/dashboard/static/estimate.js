// What the job of the form would have to do, as the service estimates it.

import { addressOf } from "./addresses.js";
import { send } from "./live.js";

const DELAY_MS = 300;
const lines = document.getElementById("estimate");
let timer;
let latest = 0;

// Says why there is no estimate.
export function sayInstead(text) {
  clearTimeout(timer);
  latest += 1;
  lines.classList.remove("wrong");
  say([text]);
}

// body: what would be submitted.
export function estimateSoon(body, costName) {
  clearTimeout(timer);
  const mine = ++latest;
  timer = setTimeout(async () => {
    const headers = { "Content-Type": "application/json" };
    const { told, problem } = await send(addressOf("v1/estimates"), { body: JSON.stringify(body), headers }, fetch);
    if (mine !== latest) return;
    lines.classList.toggle("wrong", Boolean(problem) || told.is_reachable === false);
    say(problem ? [problem.detail] : [budget(told, costName), time(told), accuracy(told), work(told)]);
  }, DELAY_MS);
}

function say(texts) {
  const text = texts.filter(Boolean);
  if (text.join() === [...lines.children].map((each) => each.textContent).join()) return;
  lines.replaceChildren(...text.map((each) => Object.assign(document.createElement("p"), { textContent: each })));
}

function budget({ metric, limit, smallest, uncut, is_reachable: isReachable }, costName) {
  if (limit === null) return "Whether the budget is within reach is not known yet: a worker measures the target's table first.";
  const reach = `the smallest policy keeps ${count(smallest[metric])} (${percent(smallest[metric] / uncut[metric])})`;
  return isReachable
    ? `Within reach: at most ${count(limit)} ${costName}; ${reach}.`
    : `Out of reach: at most ${count(limit)} ${costName}, but ${reach}. Raise the budget.`;
}

function time({ seconds }) {
  if (!seconds) return "How long it takes is not known: no job on this network has run yet.";
  const { low, high, jobs, is_same_data: isSame } = seconds;
  const [from, to] = [duration(low), duration(high)];
  const told = `${jobs} ${jobs === 1 ? "job" : "jobs"} on this network and ${isSame ? "these" : "other"} data`;
  return `About ${from === to ? from : `${from} to ${to}`} by ${told}; confirming the best comes on top.`;
}

function accuracy({ accuracy: told }) {
  if (!told) return "What accuracy is left is not known: no job on this network and these data has run yet.";
  const parts = [];
  if (told.confirmed !== null) parts.push(`${percent(told.confirmed)} confirmed on test images`);
  if (told.searched !== null) parts.push(`${percent(told.searched)} in the search, before tuning`);
  const uncut = told.uncut === null ? "" : ` The uncut network has ${percent(told.uncut)} on the search images.`;
  return `${parts.length ? `Jobs so far reached within this budget: ${parts.join(", ")}.` : "No job has measured a policy within this budget yet."}${uncut}`;
}

function work({ decisions, jobs_ahead: ahead, disk_bytes: disk }) {
  const waits = ahead ? `${ahead} ${ahead === 1 ? "job is" : "jobs are"} ahead of it.` : "No job is ahead of it.";
  const files = `Its files take at most ${(disk / 2 ** 20).toFixed(1)} MiB.`;
  return `${decisions} decisions make a policy. ${files} ${waits}`;
}

export function count(value) {
  return Math.round(value).toLocaleString("en");
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
