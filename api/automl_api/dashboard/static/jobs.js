// The list of jobs, alive; several can be chosen to be compared or steered.

import { addressOf } from "./addresses.js";
import { refresh, send, steer, trouble } from "./live.js";

const EVERY_MS = 2000;
const selection = document.getElementById("selection");

function chosen() {
  return [...document.querySelectorAll("#jobs input[name=job]:checked")].map((box) => box.value);
}

function sayHowMany() {
  if (!selection) return; // there is no job yet
  const count = chosen().length;
  const text = count ? `${count} chosen` : "Choose jobs in the list to compare them.";
  const line = document.getElementById("selected");
  if (line.textContent !== text) line.textContent = text;
  for (const button of selection.querySelectorAll("button")) button.disabled = count === 0;
}

async function steerAll(verb) {
  const ids = chosen();
  if (verb === "cancel" && !window.confirm(`Cancel ${ids.length} ${ids.length === 1 ? "job" : "jobs"} for good?`)) return;
  const answers = await Promise.all(ids.map((id) => send(addressOf(`v1/jobs/${id}/${verb}`))));
  await refresh();
  const problems = answers.filter((answer) => answer.problem);
  if (problems.length) trouble(problems.map((answer) => answer.problem.detail).join(" "));
}

steer(() => refresh());
selection?.addEventListener("click", (event) => {
  const { selected } = event.target.dataset;
  if (selected) steerAll(selected);
});
document.addEventListener("change", (event) => event.target.name === "job" && sayHowMany());

document.querySelector("#filter select")?.addEventListener("change", (event) => {
  event.target.form.requestSubmit();
});

async function goOn() {
  if (!document.hidden) await refresh();
  if (!selection && document.querySelector("#jobs input[name=job]")) location.reload(); // the first one
  sayHowMany();
  setTimeout(goOn, EVERY_MS);
}

sayHowMany();
setTimeout(goOn, EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
