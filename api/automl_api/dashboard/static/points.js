// What the trials of a job cost and scored: what is stored, then what the stream tells. A list for
// each figure takes a tenth of the memory of an object for each trial, and there may be thousands.

import { PORTFOLIO } from "./searchers.js";

const FIGURES = ["number", "evaluations", "score", "accuracy", "searcher"];

export let columns = { ...Object.fromEntries(FIGURES.map((name) => [name, []])), cost: {} };
let fetched = 0; // times
let known = new Set(); // numbers of trials
const names = new Map(); // a searcher's name -> the one string of it that is kept
const confirmed = new Map();

// Fetches what is stored; returns the number of the event behind which the stream goes on.
export async function fetchPoints(address) {
  const response = await fetch(address, { cache: "no-store" });
  if (!response.ok) throw new Error(`the points are answered with ${response.status}`);
  const { seq, confirmed: told, ...stored } = await response.json();
  columns = stored;
  fetched += 1;
  columns.searcher = columns.searcher.map(once);
  known = new Set(columns.number);
  told.forEach(addConfirmed);
  return seq;
}

function once(name) {
  if (!names.has(name)) names.set(name, name);
  return names.get(name);
}

// data: of an event `trial.completed`. Probes cannot win, and a subset's score compares with no other.
// searcher: of the study; the notes of a portfolio begin with whose turn it was.
export function addTrial(data, images, searcher) {
  if (data.role !== "candidate" || (images !== undefined && data.images < images)) return;
  if (known.has(data.number)) return;
  known.add(data.number);
  const told = { ...data, searcher: once(searcher === PORTFOLIO ? data.note.split(":")[0] : searcher) };
  for (const name of FIGURES) columns[name].push(told[name]);
  for (const [metric, cost] of Object.entries(data.cost)) (columns.cost[metric] ??= []).push(cost);
}

// data: of an event `trial.confirmed`.
export function addConfirmed({ number, test, search }) {
  confirmed.set(number, { number, cost: test.cost, score: search.score, accuracy: test.accuracy });
}

// Returns how many of the trials each searcher asked for, in the order in which they first came.
export function searchers() {
  const counts = new Map();
  for (const name of columns.searcher) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

// The searched points as they were asked for last, and their front: what comes is added to both, as
// making thousands anew with every trial would keep the page busy.
let made = { key: "", points: [], front: [] };

// Returns what was measured, in the order in which it came, as {searched, confirmed, front}. Each
// point is {number, x, y, cost, isConfirmed, place}: x is the share of a cost that is kept, y the
// quality ("score" or "accuracy"), and place where it stands in `columns`, of which a confirmed one
// may be missing. The front has the searched points that nothing beats, by rising x.
export function pointsBy(metric, full, quality) {
  const key = `${metric} ${full} ${quality} ${fetched}`;
  if (made.key !== key) made = { key, points: [], front: [] };
  const [costs, heights, { points, front }] = [columns.cost[metric] ?? [], columns[quality], made];
  for (let place = points.length; place < columns.number.length; place += 1) {
    const cost = costs[place];
    const point = { number: columns.number[place], x: cost / full, y: heights[place], cost, isConfirmed: false, place };
    points.push(point);
    addToFront(front, point);
  }
  const beside = [...confirmed.values()].map(({ number, cost, ...told }) => {
    const place = columns.number.indexOf(number);
    return { number, x: cost[metric] / full, y: told[quality], cost: cost[metric], isConfirmed: true, place };
  });
  return { searched: points, confirmed: beside, front };
}

// front: by rising x and y; of points that are equal in both the first stays.
function addToFront(front, point) {
  let [start, end] = [0, front.length];
  while (start < end) {
    const middle = (start + end) >> 1;
    if (front[middle].x <= point.x) start = middle + 1;
    else end = middle;
  }
  if (start && front[start - 1].y >= point.y) return;
  while (end < front.length && front[end].y <= point.y) end += 1;
  if (start && front[start - 1].x === point.x) start -= 1;
  front.splice(start, end - start, point);
}
