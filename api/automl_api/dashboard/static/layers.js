// Which groups and layers of the chosen network a search leaves alone, or cuts by a fixed share.

import { addressOf } from "./addresses.js";
import { ask } from "./session.js";

const groups = document.querySelector("#groups-table tbody");
const floats = document.getElementById("floats");
let latest = 0;
let told; // the chosen network as the service describes it; undefined until it is known

export function network() {
  return told;
}

// Shows what can be chosen of a network; "" is one that is not registered yet.
export async function showNetwork(modelId) {
  const mine = ++latest;
  const response = modelId ? await ask(addressOf(`v1/models/${modelId}`)).catch(() => undefined) : undefined;
  const answer = response?.ok ? await response.json() : undefined;
  if (mine !== latest) return; // another one was chosen meanwhile
  told = answer;
  groups.replaceChildren();
  floats.replaceChildren();
  document.getElementById("groups-known").hidden = !told;
  document.getElementById("groups-unknown").hidden = Boolean(told);
  if (!told) return;
  groups.append(...told.groups.map(groupRow));
  floats.append(...told.layers.filter((layer) => layer.kind !== "other").map(floatBox));
}

function groupRow({ name, channels, producers }) {
  const row = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
  const layers = Object.assign(document.createElement("td"), { className: "wrap", textContent: producers.join(", ") });
  const count = Object.assign(document.createElement("td"), { className: "number", textContent: channels });
  const choice = document.createElement("td");
  const select = document.createElement("select");
  select.setAttribute("aria-label", `What happens to ${name}`);
  for (const [value, text] of [["", "searched"], ["skip", "left whole"], ["fix", "cut by"]]) select.add(new Option(text, value));
  const share = Object.assign(document.createElement("input"), { type: "number", min: 0, max: 99, step: 1, value: 25, hidden: true });
  share.setAttribute("aria-label", `Percent of ${name} that is cut`);
  const unit = Object.assign(document.createElement("span"), { textContent: " %", hidden: true });
  select.addEventListener("change", () => (share.hidden = unit.hidden = select.value !== "fix"));
  select.dataset.group = share.dataset.share = name;
  choice.className = "moment";
  choice.append(select, " ", share, unit);
  row.append(head, layers, count, choice);
  return row;
}

function floatBox({ name }) {
  const label = document.createElement("label");
  label.append(Object.assign(document.createElement("input"), { type: "checkbox", value: name }), ` ${name}`);
  return label;
}

// Chooses what a space has chosen, of the network that is shown.
export function chooseLayers({ skip, fix }) {
  for (const select of groups.querySelectorAll("select")) {
    const { group } = select.dataset;
    if (skip.includes(group)) select.value = "skip";
    if (!(group in fix)) continue;
    select.value = "fix";
    const share = [...groups.querySelectorAll("input")].find((input) => input.dataset.share === group);
    share.step = "any";
    share.value = Number((100 * fix[group]).toPrecision(12));
    share.hidden = share.nextElementSibling.hidden = false;
  }
  for (const box of floats.querySelectorAll("input")) box.checked = skip.includes(box.value);
}

// Returns what of the space is chosen here, as the service takes it.
export function chosenLayers(hasBits) {
  document.getElementById("floats-part").hidden = !hasBits || !told;
  const skip = [...groups.querySelectorAll("select")].filter((each) => each.value === "skip").map((each) => each.dataset.group);
  const stayFloat = hasBits ? [...floats.querySelectorAll("input:checked")].map((each) => each.value) : [];
  const shares = [...groups.querySelectorAll("input:not([hidden])")];
  const fix = Object.fromEntries(shares.map((each) => [each.dataset.share, Number(each.value) / 100]));
  const all = [...new Set([...skip, ...stayFloat])];
  return { ...(all.length ? { skip: all } : {}), ...(shares.length ? { fix } : {}) };
}
