// Which output of a network of several its accuracy is measured on.

import { fields } from "./form.js";
import { network } from "./layers.js";

const part = document.getElementById("outputs-part");
const ids = new Map(); // of the networks that were shown, by what they are made of and their output

function placeOf({ architecture, program_file_id, weights_file_id, output }) {
  return JSON.stringify([architecture, program_file_id, weights_file_id, output]);
}

// Shows the outputs of the chosen network, where there are several.
export function showOutputs() {
  const told = network();
  const { outputs = [], output } = told ?? {};
  if (told) ids.set(placeOf(told), told.id);
  part.hidden = outputs.length < 2;
  fields.output.replaceChildren(...outputs.map((shape, number) => option(shape, number, number === output)));
}

function option(shape, number, isChosen) {
  const made = new Option(`output ${number}: ${shape.join("x") || "one number"}`, number, isChosen, isChosen);
  made.disabled = shape.length === 0; // accuracy is measured on logits
  return made;
}

export function hasSeveral() {
  return (network()?.outputs.length ?? 0) > 1;
}

// The id of a network of this content that was shown before.
export function shownBefore(content) {
  return ids.get(placeOf(content));
}

// What registers the chosen network once more, with the output that is chosen now.
export function withChosenOutput() {
  const { name, architecture, program_file_id, weights_file_id } = network();
  const output = Number(fields.output.value);
  const plain = name.replace(/, output \d+$/, "").slice(0, 180);
  return { name: `${plain}, output ${output}`, architecture, program_file_id, weights_file_id, output };
}
