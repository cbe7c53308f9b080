// The charts of what is compared: several jobs, or two policies.

/* global Plot */

import { longest, percent, place, ticksIn } from "./charts.js";

const SYMBOLS = ["circle", "square", "triangle", "diamond", "star", "cross", "wye", "hexagon"];

// all: [{job, name, number, share, accuracy, isConfirmed, isOnFront}]
// Returns how many points lie below the picture: it reaches down to what still matters.
export function drawJointFront(target, all, metric) {
  const confirmed = all.filter((point) => point.isConfirmed);
  const mattering = (confirmed.length ? confirmed : all.filter((point) => point.isOnFront)).map((point) => point.accuracy);
  const [least, most] = [Math.min(...mattering), Math.max(...mattering)];
  const floor = mattering.length ? least - Math.max(0.05, most - least) : -Infinity;
  const points = all.filter((point) => point.accuracy >= floor);
  const colour = (point) => `var(--series-${point.job})`;
  const channels = { x: "share", y: "accuracy", symbol: (point) => SYMBOLS[point.job] };
  const front = points.filter((point) => point.isOnFront).sort((a, b) => a.share - b.share);
  place(target, `Accuracy against ${metric} kept, of all jobs; the table below has the points`, (width) => ({
    height: 380,
    marginLeft: 56,
    x: { label: `${metric} kept →`, labelOffset: 40, tickFormat: "%", ticks: ticksIn(width), nice: true },
    y: { label: "↑ accuracy", tickFormat: "%", grid: true, nice: true },
    color: { type: "identity" },
    symbol: { type: "identity" },
    marks: [
      Plot.line(front, { x: "share", y: "accuracy", curve: "step-after", stroke: "currentColor", strokeOpacity: 0.5 }),
      Plot.dot(points.filter((point) => !point.isConfirmed), { ...channels, stroke: colour, strokeWidth: 1.8, r: 4.5 }),
      Plot.dot(points.filter((point) => point.isConfirmed), { ...channels, fill: colour, stroke: "var(--raised)", r: 7 }),
      Plot.tip(points, Plot.pointer({
        x: "share",
        y: "accuracy",
        maxRadius: 30,
        title: (point) => `${point.name}\ntrial ${point.number}${point.isConfirmed ? ", confirmed" : ""}\n${percent(point.accuracy)} at ${percent(point.share)}`,
      })),
    ],
  }));
  return all.length - points.length;
}

const DASHES = ["", "6 3", "2 3", "8 3 2 3", "12 4", "4 4", "1 4", "10 2 2 2"]; // colour never tells alone

// steps: [{job, name, evaluations, value}], of each job in the order in which they came
export function drawReached(target, steps) {
  const jobs = [...new Set(steps.map((step) => step.job))];
  place(target, "Hypervolume of each job against evaluations; the table below has the steps", (width) => ({
    height: 280,
    marginLeft: 56,
    x: { label: "evaluations →", labelOffset: 40, ticks: ticksIn(width), nice: true },
    y: { label: "↑ hypervolume", grid: true, nice: true },
    color: { type: "identity" },
    marks: [
      ...jobs.map((job) =>
        Plot.line(steps.filter((step) => step.job === job), {
          x: "evaluations", y: "value", curve: "step-after", stroke: `var(--series-${job})`, strokeWidth: 2, strokeDasharray: DASHES[job],
        })),
      Plot.tip(steps, Plot.pointer({
        x: "evaluations",
        y: "value",
        title: (step) => `${step.name}\n${step.value.toFixed(4)} after ${step.evaluations.toFixed(1)} evaluations`,
      })),
    ],
  }));
}

// groups: [{group, channels, a, b}], where a and b are the kept channels
export function drawDiff(target, groups) {
  const names = groups.map((each) => each.group);
  const share = (kept) => (each) => each[kept] / each.channels;
  place(target, "What two policies keep of each group; the table below has the numbers", () => ({
    height: 66 + 20 * groups.length,
    marginLeft: longest(names),
    marginRight: 20,
    x: { label: "kept →", labelOffset: 40, tickFormat: "%", domain: [0, 1], grid: true, ticks: 5 },
    y: { label: null, domain: names },
    marks: [
      Plot.link(groups, { x1: share("a"), x2: share("b"), y1: "group", y2: "group", stroke: "currentColor", strokeOpacity: 0.4, strokeWidth: 2 }),
      Plot.dot(groups, { x: share("a"), y: "group", fill: "var(--series-0)", r: 5 }),
      Plot.dot(groups, { x: share("b"), y: "group", fill: "var(--series-1)", symbol: "square", r: 5 }),
      Plot.tip(groups, Plot.pointerY({
        x: share("b"),
        y: "group",
        title: (each) => `${each.group}: A keeps ${each.a}, B ${each.b} of ${each.channels}`,
      })),
    ],
  }));
}
