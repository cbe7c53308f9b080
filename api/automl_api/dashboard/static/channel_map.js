// The picture of a network's coupled channels: layers below each other, a line for each group.

/* global Plot */

import { longest, place } from "./charts.js";

const ROW_PX = 20;
const LANE_PX = 130;

// layers: [{name, isWhole}] in the order of the network; groups: [{name, channels, lane, producers,
// consumers}].
export function drawMap(target, layers, groups) {
  const names = layers.map((layer) => layer.name);
  const order = new Map(names.map((name, index) => [name, index]));
  const lanes = 1 + Math.max(...groups.map((group) => group.lane));
  const touches = groups.flatMap((group) => [
    ...group.producers.map((layer) => ({ group, layer, isOutput: true })),
    ...group.consumers.map((layer) => ({ group, layer, isOutput: false })),
  ]);
  const lines = groups.map((group) => {
    const places = [...group.producers, ...group.consumers].map((name) => order.get(name));
    const [top, bottom] = [Math.min(...places), Math.max(...places)];
    return { group, top: names[top], bottom: names[bottom] };
  });
  const colour = ({ group }) => `var(--series-${groups.indexOf(group) % 8})`;
  // A layer that takes one group and makes another stands on both lines, a step apart.
  const x = (each) => each.group.lane + 1;
  place(target, "Which layers are cut together; the table below has the groups", (width) => ({
    width: Math.min(width, longest(names) + LANE_PX * (lanes + 0.3)),
    height: 36 + ROW_PX * names.length,
    marginLeft: longest(names),
    marginTop: 10,
    marginBottom: 10,
    marginRight: 12,
    x: { axis: null, domain: [0.7, lanes + 1] },
    y: { label: null, domain: names, tickSize: 0 },
    color: { type: "identity" },
    marks: [
      Plot.ruleY(names, { stroke: "currentColor", strokeOpacity: 0.1 }),
      Plot.ruleX(lines, { x, y1: "top", y2: "bottom", stroke: colour, strokeWidth: 3 }),
      Plot.dot(touches.filter((each) => each.isOutput), { x, y: "layer", fill: colour, r: 5 }),
      Plot.dot(touches.filter((each) => !each.isOutput), { x, y: "layer", stroke: colour, fill: "var(--raised)", strokeWidth: 2, r: 5 }),
      Plot.text(lines, { x, y: "top", text: ({ group }) => `${group.channels} channels`, dx: 10, textAnchor: "start", fill: "currentColor" }),
      Plot.text(layers.filter((layer) => layer.isWhole), { x: () => 0.82, y: "name", text: () => "✕", fill: "var(--bad)", fontSize: 14 }),
      Plot.tip(touches, Plot.pointer({
        x,
        y: "layer",
        maxRadius: 30,
        title: ({ group, layer, isOutput }) => `${layer}: its ${isOutput ? "outputs are" : "inputs are"} cut\nwith the ${group.channels} channels of ${group.name}`,
      })),
    ],
  }));
}
