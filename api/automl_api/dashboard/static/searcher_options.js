// The options of a searcher, as the service says which there are and what each takes.

import { PORTFOLIO } from "./searchers.js";

const members = document.getElementById("members");
const part = document.getElementById("options-part");
const shown = document.getElementById("options");
const known = new Map(); // searcher -> its fields, which keep what was typed while another is chosen

// option: of the list of searchers, that is chosen.
export function showOptions({ value: searcher, dataset }) {
  const isPortfolio = searcher === PORTFOLIO;
  members.hidden = !isPortfolio;
  if (isPortfolio && !known.has(searcher) && !chosenMembers().length) choose(JSON.parse(dataset.options).members);
  const told = fieldsOf(searcher, dataset);
  part.hidden = isPortfolio || told.length === 0;
  document.getElementById("options-of").textContent = searcher;
  if (shown.firstChild !== (told[0] ?? null)) shown.replaceChildren(...told);
}

function fieldsOf(searcher, { takes, options }) {
  if (!known.has(searcher)) {
    const defaults = JSON.parse(options);
    known.set(searcher, Object.entries(JSON.parse(takes)).map(([name, words]) => field(name, words, defaults[name])));
  }
  return known.get(searcher);
}

function field(name, words, usual) {
  const label = document.createElement("label");
  const hint = `takes ${words}`;
  const names = words === "true or false" ? ["true", "false"] : [...words.matchAll(/'([^']*)'/g)].map((found) => found[1]);
  const input = names.length ? choice(names, usual) : entry(words, usual);
  input.dataset.option = name;
  input.title = hint;
  label.append(`${name.replaceAll("_", " ")} `, input);
  return label;
}

function choice(names, usual) {
  const select = document.createElement("select");
  select.add(new Option(`${usual} (as usual)`, ""));
  for (const name of names) select.add(new Option(name));
  return select;
}

function entry(words, usual) {
  const input = document.createElement("input");
  const isList = words.startsWith("a list");
  const isNumber = !isList && /integer|number/.test(words);
  Object.assign(input, { type: isNumber ? "number" : "text", placeholder: usual === null ? "chosen by the searcher" : String(usual) });
  if (isNumber) input.step = words.startsWith("an integer") ? 1 : "any";
  if (isList && words.includes("integer")) input.pattern = "[0-9]+(, *[0-9]+)*";
  input.dataset.list = isList ? words : "";
  return input;
}

function read(input) {
  const { value, dataset, type } = input;
  if (dataset.list) {
    const parts = value.split(",").map((each) => each.trim()).filter(Boolean);
    return dataset.list.includes("integer") ? parts.map(Number) : parts;
  }
  if (type === "number") return Number(value);
  return { true: true, false: false }[value] ?? value;
}

function chosenMembers() {
  return [...members.querySelectorAll("input:checked")].map((box) => box.value);
}

function choose(names) {
  for (const box of members.querySelectorAll("input")) box.checked = names.includes(box.value);
}

// Says why the form cannot be sent yet; "" where it can.
export function optionsProblem({ value: searcher }) {
  return searcher === PORTFOLIO && !chosenMembers().length ? "Choose at least one searcher that takes part." : "";
}

// Returns what differs from the searcher's own.
export function chosenOptions({ value: searcher, dataset }) {
  if (searcher === PORTFOLIO) {
    const usual = JSON.parse(dataset.options).members;
    const told = chosenMembers();
    const isUsual = told.length === usual.length && told.every((name) => usual.includes(name));
    return isUsual ? {} : { members: told };
  }
  const inputs = fieldsOf(searcher, dataset).map((label) => label.querySelector("[data-option]"));
  return Object.fromEntries(inputs.filter((input) => input.value !== "").map((input) => [input.dataset.option, read(input)]));
}

// Chooses what a job has chosen.
export function fillOptions({ value: searcher, dataset }, options) {
  if (searcher === PORTFOLIO) {
    choose(options.members ?? JSON.parse(dataset.options).members);
    return;
  }
  for (const label of fieldsOf(searcher, dataset)) {
    const input = label.querySelector("[data-option]");
    const told = options[input.dataset.option];
    if (told === undefined || told === null) continue;
    input.value = Array.isArray(told) ? told.join(", ") : String(told);
    part.open = true;
  }
}
