// What the form of a new search says.

import { completed } from "./cloning.js";
import { chosenLayers } from "./layers.js";
import { chosenOptions } from "./searcher_options.js";

export const form = document.getElementById("search");
export const fields = form.elements;
export const BITS = { weight_bits: "--weight-bits", activation_bits: "--activation-bits" };

export function chosenOption(name) {
  return fields[name].selectedOptions[0];
}

function numbers(name) {
  return fields[name].value.split(",").map((each) => each.trim()).filter(Boolean).map(Number);
}

export function percents() {
  return [Number(fields.ratio.value), ...numbers("smaller")];
}

export function space() {
  const bits = Object.fromEntries(Object.keys(BITS).map((name) => [name, numbers(name)]).filter(([, told]) => told.length));
  return { ...bits, ...chosenLayers(Object.keys(bits).length > 0) };
}

export function searcherOptions() {
  return chosenOptions(chosenOption("searcher"));
}

export function study() {
  return completed({
    searcher: fields.searcher.value,
    budget: { metric: fields.metric.value, ratio: percents()[0] / 100 },
    ...(numbers("smaller").length ? { smaller_ratios: percents().slice(1).map((each) => each / 100) } : {}),
    ...(fields.floor.value ? { accuracy_floor: Number(fields.floor.value) / 100 } : {}),
    effort: { evaluations: Number(fields.evaluations.value) },
    ...(Object.keys(searcherOptions()).length ? { searcher_options: searcherOptions() } : {}),
    ...(Number(fields.seed.value) ? { seed: Number(fields.seed.value) } : {}),
    ...(Object.keys(space()).length ? { space: space() } : {}),
    confirmation: { top_k: 1, finetune_epochs: Number(fields.epochs.value) },
    ...(fields.target.value ? { target: fields.target.value } : {}),
  });
}

export function example() {
  const { dataset } = chosenOption("model");
  return dataset.example ? dataset : undefined;
}

export function file(name) {
  return fields[name].files[0];
}

export function architecture() {
  if (example()) return { name: example().architecture, config: JSON.parse(example().config) };
  const inputs = document.querySelectorAll("#config input");
  const config = Object.fromEntries([...inputs].map((input) => [input.name, Number(input.value)]));
  return { name: fields.architecture.value, config };
}

export function weightsName() {
  return example() ? `${example().name}.safetensors` : file("weights")?.name;
}

export function programName() {
  return example() ? undefined : file("program")?.name;
}

export function isUpload() {
  return chosenOption("dataset").dataset.upload !== undefined;
}

export function imagesName() {
  return file("images")?.name ?? "images.npz";
}
