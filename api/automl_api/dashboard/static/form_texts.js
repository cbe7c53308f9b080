// The job that the form would submit, for a shell and in Python.

import { BITS, architecture, chosenOption, fields, imagesName, isUpload, percents, programName, searcherOptions, space, study, weightsName } from "./form.js";
import { addressOf } from "./addresses.js";

const BUDGET_FLAGS = {
  macs: "--max-macs",
  parameters: "--max-parameters",
  size_bytes: "--max-bytes",
  bit_operations: "--max-bit-operations",
  micronet: "--max-micronet",
  latency_ns: "--max-latency",
};

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function budgetFlag() {
  return `${BUDGET_FLAGS[fields.metric.value]} ${percents().map((each) => `${each}%`).join(",")}`;
}

function searcherFlags() {
  const told = Object.entries(searcherOptions()).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [`--searcher ${fields.searcher.value}`, ...told.map((each) => `--option ${quoted(each)}`), `--evaluations ${fields.evaluations.value}`];
}

function floorFlag() {
  return fields.floor.value ? [`--accuracy-floor ${fields.floor.value}%`] : [];
}

function newDataName() {
  return isUpload() ? quoted(imagesName()) : chosenOption("dataset").dataset.builtin;
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// What makes one JSON object of another (RFC 7396); undefined where they are equal.
function mergePatch(before, after) {
  const patch = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [from, to] = [before[name], after[name]];
    if (JSON.stringify(from) === JSON.stringify(to)) continue;
    const change = isObject(from) && isObject(to) ? mergePatch(from, to) : (to ?? null);
    if (change !== undefined) patch[name] = change;
  }
  return Object.keys(patch).length ? patch : undefined;
}

// cloned: the job that the form began with, if any.
export function asShell(isNew, cloned) {
  if (cloned) {
    const left = Object.keys(cloned.study.searcher === fields.searcher.value ? cloned.study.searcher_options : {});
    const gone = left.filter((name) => !(name in searcherOptions())).map((name) => `--option ${name}=null`);
    const flags = [budgetFlag(), ...floorFlag(), ...searcherFlags(), ...gone, `--seed ${fields.seed.value}`, `--name ${quoted(fields.name.value)}`];
    const [before, after] = [cloned.study, study()].map(({ space, confirmation, target }) => ({ space, confirmation, target }));
    const patch = mergePatch(before, after);
    if (patch) flags.push(`--study ${quoted(JSON.stringify(patch))}`);
    return [`automl-compress jobs clone ${cloned.id}`, ...flags].join(" \\\n    ");
  }
  const network = isNew ? quoted(programName() ?? architecture().name) : fields.model.value;
  const parts = [`automl-compress search ${network}`, fields.dataset.value || newDataName()];
  if (isNew && weightsName()) parts.push(`--weights ${quoted(weightsName())}`);
  if (isNew && !programName()) {
    for (const [name, value] of Object.entries(architecture().config)) parts.push(`--config ${name}=${value}`);
  }
  parts.push(budgetFlag(), ...floorFlag());
  const { skip = [], fix = {}, ...bits } = space();
  for (const [name, told] of Object.entries(bits)) parts.push(`${BITS[name]} ${told.join(",")}`);
  for (const name of skip) parts.push(`--skip ${quoted(name)}`);
  for (const [name, share] of Object.entries(fix)) parts.push(`--fix ${quoted(`${name}=${Math.round(100 * share)}%`)}`);
  if (fields.target.value) parts.push(`--target ${fields.target.value}`);
  parts.push(...searcherFlags());
  if (Number(fields.seed.value)) parts.push(`--seed ${fields.seed.value}`);
  parts.push(`--finetune-epochs ${fields.epochs.value}`);
  if (fields.name.value) parts.push(`--name ${quoted(fields.name.value)}`);
  return [...parts, "--watch"].join(" \\\n    ");
}

// JSON as Python writes it: it knows no true, false and null.
function asLiteral(content) {
  const words = { true: "True", false: "False", null: "None" };
  return JSON.stringify(content, null, 4).replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (found) => words[found] ?? found);
}

export function asPython(isNew) {
  const lines = ["from automl_api.client import Client", "", `with Client(${JSON.stringify(addressOf(".").replace(/\/$/, ""))}) as client:`];
  let [model, dataset] = [JSON.stringify(fields.model.value), JSON.stringify(fields.dataset.value)];
  if (isNew) {
    const weights = weightsName() ? `, weights=${JSON.stringify(weightsName())}` : "";
    const network = programName()
      ? `program=${JSON.stringify(programName())}`
      : `${JSON.stringify(architecture().name)}, config=${JSON.stringify(architecture().config)}`;
    lines.push(`    model = client.create_model(${network}${weights})`);
    model = 'model["id"]';
  }
  if (!fields.dataset.value) {
    const name = JSON.stringify(isUpload() ? imagesName() : chosenOption("dataset").dataset.builtin);
    const source = isUpload() ? name : `{"kind": "builtin", "name": ${name}}, name=${name}`;
    lines.push(`    data = client.create_dataset(${source})`);
    dataset = 'data["id"]';
  }
  const told = asLiteral(study()).replaceAll("\n", "\n    ");
  const name = fields.name.value ? `"name": ${JSON.stringify(fields.name.value)}, ` : "";
  lines.push(`    study = ${told}`);
  lines.push(`    job = client.submit({${name}"model_id": ${model}, "dataset_id": ${dataset}, "study": study})`);
  lines.push("    print(job.wait().status)");
  return lines.join("\n");
}
