// One job: its stream of events feeds the front; everything else is patched from the page itself.

import { drawBars, drawHeat, ready } from "./charts.js";
import { bestWithin, redrawFront, redrawProgress, sayLimit } from "./front.js";
import { refresh, sendForms, steer, trouble } from "./live.js";
import { addConfirmed, addTrial, fetchPoints } from "./points.js";
import { SILENT } from "./session.js";
import { drawFrom, drawSensitivityTable, forgetDrawn } from "./tables.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const REDRAW_MS = 250;
const PROGRESS_MS = 1000;
const REFRESH_MS = 1500;
const RETRY_MS = 3000;
const FOLLOW_MS = 2000;

const axes = document.getElementById("axes");
const limit = document.getElementById("limit");
const shown = document.getElementById("progress-shown");
let stream;
let lastSeq;

const later = (delayMs, act) => {
  let timer;
  return () => (timer ??= setTimeout(() => ((timer = undefined), act()), delayMs));
};
const redrawSoon = later(REDRAW_MS, () => redrawFront(choose));
const progressSoon = later(PROGRESS_MS, redrawProgress);
const refreshSoon = later(REFRESH_MS, () => update());

async function update(isWhole = false) {
  if (isWhole) forgetDrawn();
  await refresh(isWhole);
  await ready;
  drawTables();
  redrawSoon();
}

function redraw() {
  redrawFront(choose);
  redrawProgress();
}

function job() {
  return document.getElementById("job").dataset;
}

// ---------------------------------------------------- charts of the page's tables

function drawTables() {
  drawFrom("bars", (rows) => {
    const bars = rows.map(({ dataset }) => ({ group: dataset.group, kept: +dataset.kept, channels: +dataset.channels, bits: dataset.bits }));
    return (target) => drawBars(target, bars);
  });
  drawFrom("heat", (rows) => {
    const cells = rows.flatMap((row) =>
      [...row.querySelectorAll("td[data-group]")].map(({ dataset }) => ({
        trial: row.dataset.trial,
        label: `${"front" in row.dataset ? "◆ " : ""}${row.dataset.trial}`,
        group: dataset.group,
        kept: +dataset.kept,
      })),
    );
    return (target) => drawHeat(target, cells, choose);
  });
  drawSensitivityTable();
}

// ------------------------------------------------------------------ the stream

async function start() {
  try {
    lastSeq = await fetchPoints(job().points);
  } catch {
    trouble(SILENT);
    onceItAnswers(start);
    return;
  }
  redraw();
  if (lastSeq > Number(job().seq)) await refresh(true); // it went on, or ended, behind the page
  if (!ENDED.includes(job().status) && !document.hidden) listen();
}

function onceItAnswers(act) {
  setTimeout(async () => ((await refresh()) ? act() : onceItAnswers(act)), RETRY_MS);
}

function listen() {
  stream?.close();
  const address = new URL(job().stream, location.href);
  address.searchParams.set("after", lastSeq);
  stream = new EventSource(address);
  stream.addEventListener("open", () => trouble(""));
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) {
      trouble(SILENT);
      return;
    }
    onceItAnswers(listen); // such as after a session that ended
  });
  const on = (kind, act) =>
    stream.addEventListener(kind, (message) => {
      const event = JSON.parse(message.data);
      lastSeq = event.seq;
      act(event.data);
      if (event.seq > Number(job().seq)) refreshSoon();
    });
  on("trial.completed", (data) => {
    addTrial(data, Number(job().images) || undefined, job().searcher);
    redrawSoon();
    progressSoon();
  });
  on("trial.confirmed", (data) => {
    addConfirmed(data);
    redrawSoon();
  });
  on("job.status", (data) => {
    if (!ENDED.includes(data.state)) return;
    stream.close();
    if (!ENDED.includes(job().status)) update(true);
  });
  for (const kind of ["trial.started", "trial.failed", "baseline.confirmed", "stage.finished"]) on(kind, () => {});
}

function choose(number) {
  const address = new URL(location.href);
  address.searchParams.set("trial", number);
  address.hash = "";
  go(address);
}

function go(address) {
  history.pushState(null, "", address);
  update();
}

// A search that has ended streams nothing; while trials of it are confirmed it is looked at again.
let following;
async function follow() {
  clearTimeout(following);
  if (!document.hidden) await update();
  if (document.querySelector("#results progress")) following = setTimeout(follow, FOLLOW_MS);
}

steer(() => update(true));
sendForms(follow);
if (document.querySelector("#results progress")) following = setTimeout(follow, FOLLOW_MS);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-trial], a[data-stay], nav.pages a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(new URL(link.href));
  if (link.dataset.trial) document.getElementById("chosen").scrollIntoView({ block: "nearest" });
});
window.addEventListener("popstate", () => update());
document.addEventListener("visibilitychange", () => {
  if (lastSeq === undefined || ENDED.includes(job().status)) return;
  if (document.hidden) stream?.close();
  else {
    update();
    listen();
  }
});

await ready;
sayLimit();
axes.addEventListener("input", redraw);
shown.addEventListener("input", redrawProgress);
limit.addEventListener("change", () => {
  const best = bestWithin();
  if (best) choose(best.number);
});
window.addEventListener("resize", later(REDRAW_MS, () => (forgetDrawn(), drawTables(), redraw())));
start();
drawTables();
