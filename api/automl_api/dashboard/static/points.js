// What the trials of a job cost and scored: what is stored, then what the stream tells. A list for
// each figure takes a tenth of the memory of an object for each trial, and there may be thousands.

import { PORTFOLIO } from "./searchers.js";

const FIGURES = ["number", "evaluations", "score", "accuracy", "searcher"];

export let columns = { ...Object.fromEntries(FIGURES.map((name) => [name, []])), cost: {} };
let known = new Set(); // numbers of trials
const names = new Map(); // a searcher's name -> the one string of it that is kept
const confirmed = new Map();

// Fetches what is stored; returns the number of the event behind which the stream goes on.
export async function fetchPoints(address) {
  const response = await fetch(address, { cache: "no-store" });
  if (!response.ok) throw new Error(`the points are answered with ${response.status}`);
  const { seq, confirmed: told, ...stored } = await response.json();
  columns = stored;
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

// Returns {number, x, y, cost, isConfirmed, place} of everything that was measured, in the order in
// which it came: x is the share of a cost that is kept, y the quality ("score" or "accuracy"), and
// place where it stands in `columns`, of which a confirmed one may be missing.
export function pointsBy(metric, full, quality) {
  const [costs, heights] = [columns.cost[metric] ?? [], columns[quality]];
  const points = columns.number.map((number, place) => ({
    number, x: costs[place] / full, y: heights[place], cost: costs[place], isConfirmed: false, place,
  }));
  for (const { number, cost, ...told } of confirmed.values()) {
    const place = columns.number.indexOf(number);
    points.push({ number, x: cost[metric] / full, y: told[quality], cost: cost[metric], isConfirmed: true, place });
  }
  return points;
}

// Returns the searched points that nothing beats, by rising x.
export function frontOf(points) {
  const rising = points.filter((each) => !each.isConfirmed).sort((a, b) => a.x - b.x || b.y - a.y);
  const front = [];
  for (const each of rising) if (!front.length || each.y > front.at(-1).y) front.push(each);
  return front;
}
