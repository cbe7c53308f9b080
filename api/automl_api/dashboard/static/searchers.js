// The searchers that share a study, told apart by shape and colour: colour never tells alone.

/* global d3 */

export const PORTFOLIO = "portfolio"; // the searcher that lets several take turns

// The diamond is left to what is confirmed.
const NAMES = ["circle", "square", "triangle", "star", "cross", "wye", "hexagon"];
const COLOURS = 8; // of style.css
const AREA = 30; // px², of a point
export const RING = "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0";

// names: searchers in the order in which they first came.
// Returns a map from each to its {symbol, colour, outline}; the outline is a path from its middle.
export function looks(names) {
  return new Map(
    names.map((name, index) => {
      const symbol = NAMES[index % NAMES.length];
      const colour = (index + Math.floor(index / NAMES.length)) % COLOURS;
      return [name, { symbol, colour: `var(--series-${colour})`, outline: outlineOf(symbol) }];
    }),
  );
}

// One path for each searcher takes its points much faster than an element for each of them would.
function outlineOf(symbol) {
  if (symbol === "circle") return RING;
  const corners = symbol === "hexagon" ? hexagon() : cornersOf(d3[`symbol${symbol[0].toUpperCase()}${symbol.slice(1)}`]);
  const steps = corners.map(([x, y], index) => {
    const [fromX, fromY] = corners[index - 1] ?? [0, 0];
    return `${index ? "l" : "m"}${(x - fromX).toFixed(2)} ${(y - fromY).toFixed(2)}`;
  });
  return `${steps.join("")}z`;
}

function cornersOf(symbol) {
  const corners = [];
  const add = (x, y) => corners.push([x, y]);
  const rect = (x, y, width, height) => corners.push([x, y], [x + width, y], [x + width, y + height], [x, y + height]);
  symbol.draw({ moveTo: add, lineTo: add, rect, closePath() {} }, AREA);
  return corners;
}

function hexagon() {
  return [0, 1, 2, 3, 4, 5].map((each) => [3.4 * Math.sin((each * Math.PI) / 3), -3.4 * Math.cos((each * Math.PI) / 3)]);
}

// counts: a map from each searcher to how many of its trials were measured.
export function showLegend(list, known, counts) {
  const items = [...known].map(([name, { colour, outline }]) => {
    const item = document.createElement("li");
    const drawn = d3.create("svg:svg").attr("aria-hidden", "true").attr("viewBox", "-6 -6 12 12").attr("class", "shape");
    drawn.append("path").attr("d", `M0 0${outline}`).attr("stroke", colour);
    item.append(drawn.node(), ` ${name} (${counts.get(name)})`);
    return item;
  });
  list.replaceChildren(...items);
}
