// The list of jobs, alive.

import { refresh, steer } from "./live.js";

const EVERY_MS = 2000;

steer(() => refresh());

document.querySelector("#filter select").addEventListener("change", (event) => {
  event.target.form.requestSubmit();
});

async function goOn() {
  if (!document.hidden) await refresh();
  setTimeout(goOn, EVERY_MS);
}

setTimeout(goOn, EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
