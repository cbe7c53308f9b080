// Workers and queue, alive.

import { refresh } from "./live.js";

const EVERY_MS = 3000;

async function goOn() {
  if (!document.hidden) await refresh();
  setTimeout(goOn, EVERY_MS);
}

setTimeout(goOn, EVERY_MS);
