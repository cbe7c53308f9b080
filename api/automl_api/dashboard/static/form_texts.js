// The job that the form would submit, for a shell and in Python.

import { BITS, architecture, chosenOption, fields, imagesName, isUpload, percents, programName, space, study, weightsName } from "./form.js";
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

function newDataName() {
  return isUpload() ? quoted(imagesName()) : chosenOption("dataset").dataset.builtin;
}

// cloned: the job that the form began with, if any.
export function asShell(isNew, cloned) {
  if (cloned) {
    const flags = [budgetFlag(), `--searcher ${fields.searcher.value}`, `--evaluations ${fields.evaluations.value}`, `--name ${quoted(fields.name.value)}`];
    return [`automl-compress jobs clone ${cloned.id}`, ...flags].join(" \\\n    ");
  }
  const network = isNew ? quoted(programName() ?? architecture().name) : fields.model.value;
  const parts = [`automl-compress search ${network}`, fields.dataset.value || newDataName()];
  if (isNew && weightsName()) parts.push(`--weights ${quoted(weightsName())}`);
  if (isNew && !programName()) {
    for (const [name, value] of Object.entries(architecture().config)) parts.push(`--config ${name}=${value}`);
  }
  parts.push(budgetFlag());
  const { skip = [], fix = {}, ...bits } = space();
  for (const [name, told] of Object.entries(bits)) parts.push(`${BITS[name]} ${told.join(",")}`);
  for (const name of skip) parts.push(`--skip ${quoted(name)}`);
  for (const [name, share] of Object.entries(fix)) parts.push(`--fix ${quoted(`${name}=${Math.round(100 * share)}%`)}`);
  if (fields.target.value) parts.push(`--target ${fields.target.value}`);
  parts.push(`--searcher ${fields.searcher.value}`, `--evaluations ${fields.evaluations.value}`);
  parts.push(`--finetune-epochs ${fields.epochs.value}`);
  if (fields.name.value) parts.push(`--name ${quoted(fields.name.value)}`);
  return [...parts, "--watch"].join(" \\\n    ");
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
  const told = JSON.stringify(study(), null, 4).replaceAll("\n", "\n    ");
  const name = fields.name.value ? `"name": ${JSON.stringify(fields.name.value)}, ` : "";
  lines.push(`    study = ${told}`);
  lines.push(`    job = client.submit({${name}"model_id": ${model}, "dataset_id": ${dataset}, "study": study})`);
  lines.push("    print(job.wait().status)");
  return lines.join("\n");
}
