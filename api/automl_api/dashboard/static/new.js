// The form of a new search: it shows the job that it would submit in three languages, then submits.

import { addressOf } from "./addresses.js";
import { fill, original, tags } from "./cloning.js";
import { copyOnClick } from "./copying.js";
import { count, estimateSoon, sayInstead } from "./estimate.js";
import { architecture, chosenOption, example, fields, file, form, isUpload, programName, study, weightsName } from "./form.js";
import { asPython, asShell } from "./form_texts.js";
import { chooseLayers, network, showNetwork } from "./layers.js";
import { send } from "./live.js";
import { hasSeveral, showOutputs, shownBefore, withChosenOutput } from "./outputs.js";
import { optionsProblem, showOptions } from "./searcher_options.js";
import { ask, ENDED, isSignedOut } from "./session.js";

const UNKNOWN =
  "A new network is read when you start. Then it is known what the smallest policy costs, and later how long such searches take.";

const SEVERAL_OUTPUTS = "The network has several outputs. Choose which one its accuracy is measured on, then press Start again.";

const EXAMPLE = "All is filled in: press Start. The example is small, so that such a search takes minutes.";

// One key for one press of the button, so that a lost answer cannot make two jobs of it.
let idempotencyKey = newKey();
let cloned; // the job that the form begins with

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// A budget of latency needs an engine that it is measured on.
function chooseTarget() {
  if (fields.metric.value !== "latency_ns" || fields.target.value) return;
  fields.target.selectedIndex = 1;
  document.getElementById("budget-more").open = true; // where it is chosen
}

// ------------------------------------------------------------- what is shown

function showConfig() {
  const told = JSON.parse(chosenOption("architecture").dataset.config);
  const labels = Object.entries(told).map(([name, value]) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { name, type: "number", value, step: "any", size: 6 });
    label.append(`${name.replaceAll("_", " ")} `, input);
    return label;
  });
  document.getElementById("config").replaceChildren(...labels);
}

async function showModel() {
  await showNetwork(fields.model.value);
  showOutputs();
}

function show() {
  const isNew = fields.model.value === "";
  document.getElementById("new-model").hidden = !isNew || example() !== undefined;
  document.getElementById("of-architecture").hidden = file("program") !== undefined;
  document.getElementById("new-data").hidden = !isUpload();
  fields.images.required = isUpload();
  showBudget();
  document.getElementById("summary").textContent = chosenOption("searcher").dataset.summary;
  showOptions(chosenOption("searcher"));
  document.getElementById("example-hint")?.toggleAttribute("hidden", example() === undefined);
  const isWrong = [...fields].some((field) => field.willValidate && !field.validity.valid);
  const [takes, given] = ["model", "dataset"].map((name) => chosenOption(name).dataset.shape);
  const missing = optionsProblem(chosenOption("searcher"));
  if (isWrong) sayInstead("The form is not filled in yet.");
  else if (missing) sayInstead(missing);
  else if (takes && given && takes !== given) sayInstead(`The network takes images of ${takes}, the data have ${given} (channels x height x width).`);
  else if (isNew || !fields.dataset.value) sayInstead(example() ? EXAMPLE : UNKNOWN);
  else estimateSoon(body(fields.model.value, fields.dataset.value), costName());
  document.getElementById("as-shell").textContent = asShell(isNew, cloned);
  document.getElementById("as-python").textContent = asPython(isNew);
  document.getElementById("as-json").textContent = JSON.stringify(body(fields.model.value || "MODEL_ID", fields.dataset.value || "DATASET_ID"), null, 2);
}

function costName() {
  return form.querySelector("input[name=metric]:checked").parentElement.textContent.trim();
}

// The share that is kept, and what that is in the units of the budget where the network is known.
function showBudget() {
  const full = network()?.totals[fields.metric.value];
  const share = Number(fields.ratio.value) / 100;
  const amount = full ? `: ${count(full * share)} of ${count(full)} ${costName()}` : "";
  document.getElementById("ratio-text").textContent = `${fields.ratio.value} %${amount}`;
}

function body(modelId, datasetId) {
  const told = { model_id: modelId, dataset_id: datasetId, study: study(), ...tags() };
  return fields.name.value ? { name: fields.name.value, ...told } : told;
}

// ---------------------------------------------------------------- submission

class Refused extends Error {}

async function post(path, content, headers = {}) {
  const isFile = content instanceof File;
  const { told, problem } = await send(addressOf(path), {
    body: isFile ? content : JSON.stringify(content),
    headers: { "Content-Type": isFile ? "application/octet-stream" : "application/json", ...headers },
  });
  if (problem) throw new Refused(problem.detail);
  return told;
}

// What was registered becomes an option of its own, so that a second try does not register it again.
async function registeredModel() {
  if (fields.model.value) return fields.model.value;
  const program = example() ? undefined : file("program");
  const weights = example() ? await exampleFile() : file("weights");
  const content = { name: stem((program ?? weights)?.name ?? architecture().name) };
  if (program) content.program_file_id = (await uploaded(program, "the program")).id;
  else content.architecture = architecture();
  if (weights) content.weights_file_id = (await uploaded(weights, "the weights")).id;
  busy("tracing the network");
  return remember("model", await post("v1/models", content));
}

// With another output it is another network, which is registered where it was not yet.
async function chooseOutput() {
  const content = withChosenOutput();
  const there = shownBefore(content);
  if (!there) {
    busy("tracing the network");
    return remember("model", await post("v1/models", content));
  }
  fields.model.value = there;
  await showModel();
  show();
}

async function uploaded(chosen, what) {
  busy(`uploading ${what}`);
  return post(`v1/files?name=${encodeURIComponent(chosen.name)}`, chosen);
}

function stem(name) {
  return name.replace(/\.(safetensors|pt2|npz|parquet|zip)$/, "");
}

async function exampleFile() {
  const response = await ask(new URL(example().example, location.href));
  if (isSignedOut(response)) throw new Refused(ENDED);
  return new File([await response.blob()], weightsName());
}

async function registeredDataset() {
  if (fields.dataset.value) return fields.dataset.value;
  const content = isUpload() ? await uploadedImages() : builtinImages();
  busy("reading the data");
  return remember("dataset", await post("v1/datasets", content));
}

function builtinImages() {
  const name = chosenOption("dataset").dataset.builtin;
  return { name, source: { kind: "builtin", name } };
}

async function uploadedImages() {
  const chosen = file("images");
  const { id, format } = await uploaded(chosen, "the images");
  const place = format === "parquet" ? "train_file_id" : "file_id";
  return { name: stem(chosen.name), source: { kind: format, [place]: id } };
}

async function remember(name, registered) {
  fields[name].prepend(new Option(registered.name, registered.id, true, true));
  chosenOption(name).dataset.shape = registered.input_shape.join("x");
  if (name === "model") await showModel();
  show();
  return registered.id;
}

function busy(text) {
  document.getElementById("busy").textContent = text && `${text} …`;
}

function refuse(text) {
  const refusal = document.getElementById("refusal");
  refusal.textContent = text;
  refusal.hidden = text === "";
}

// Whatever is done with the service: the button is not pressed twice, and a refusal is shown.
async function trying(button, act) {
  refuse("");
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refuse(error.message);
  } finally {
    button.disabled = false;
    busy("");
  }
}

async function submit() {
  refuse("");
  const wrong = [...fields].find((field) => field.willValidate && !field.checkValidity());
  if (wrong) {
    wrong.closest("details")?.setAttribute("open", "");
    const name = wrong.getAttribute("aria-label") ?? wrong.closest("label").firstChild.textContent.trim();
    refuse(`${name}: ${wrong.validationMessage}`);
    wrong.focus();
    return;
  }
  const missing = optionsProblem(chosenOption("searcher"));
  if (missing) {
    refuse(missing);
    return;
  }
  await trying(document.getElementById("start"), async () => {
    const isNew = !fields.model.value;
    const model = await registeredModel();
    if (isNew && hasSeveral()) throw new Refused(SEVERAL_OUTPUTS);
    const dataset = await registeredDataset();
    busy("submitting");
    const job = await post("v1/jobs", body(model, dataset), { "Idempotency-Key": idempotencyKey });
    location.assign(addressOf(`jobs/${job.id}`));
  });
}

form.addEventListener("submit", () => submit());
document.getElementById("read-network").addEventListener("click", (event) => trying(event.target, registeredModel));
form.addEventListener("input", chooseTarget);
form.addEventListener("input", async (event) => {
  if (event.target === fields.architecture) showConfig();
  if (event.target === fields.model) await showModel();
  if (event.target === fields.output) {
    await trying(fields.output, chooseOutput);
    showOutputs(); // of the network that is chosen now, also where the service refused
  }
  idempotencyKey = newKey();
  show();
});
for (const name of ["model", "dataset"]) {
  const wanted = new URLSearchParams(location.search).get(name);
  if ([...fields[name].options].some((option) => option.value === wanted)) fields[name].value = wanted;
}
const wanted = new URLSearchParams(location.search);
if (wanted.has("clone")) {
  cloned = await original(wanted.get("clone"));
  if (cloned) fill(fields, cloned, wanted.get("evaluations") ?? undefined);
  else refuse("The job that was to be copied is not there, or is no search.");
}
copyOnClick();
showConfig();
show();
await showModel();
if (cloned) chooseLayers(cloned.study.space);
show();
