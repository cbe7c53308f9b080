// A form that begins as a job was: everything that the form has no field for is kept.

import { addressOf } from "./addresses.js";
import { fillOptions } from "./searcher_options.js";

let base; // the job; undefined for a search that begins with nothing

export async function original(jobId) {
  const response = await fetch(addressOf(`v1/jobs/${jobId}`)).catch(() => undefined);
  const job = response?.ok ? await response.json() : undefined;
  if (job?.kind === "search") base = job;
  return base;
}

// Returns a study of which the form told a part.
export function completed(told) {
  if (!base) return told;
  const { study } = base;
  const kept = { ...study };
  if (told.searcher !== study.searcher) {
    // What was completed for one searcher does not suit another.
    const { repair, weights, pruning_net, ...recipe } = study.recipe;
    kept.recipe = recipe;
  }
  const { finetune_epochs } = told.confirmation;
  return {
    ...kept,
    ...told,
    smaller_ratios: told.smaller_ratios ?? [],
    target: told.target ?? null,
    seed: told.seed ?? 0,
    searcher_options: told.searcher_options ?? {},
    accuracy_floor: told.accuracy_floor ?? null,
    effort: { ...study.effort, ...told.effort },
    space: { ...study.space, weight_bits: [], activation_bits: [], skip: [], fix: {}, ...told.space },
    confirmation: { ...study.confirmation, finetune_epochs },
  };
}

export function tags() {
  return base && Object.keys(base.tags).length ? { tags: base.tags } : {};
}

// Fills the fields; evaluations: instead of the job's.
export function fill(fields, job, evaluations) {
  const { study } = job;
  for (const [name, id, what] of [["model", job.model_id, "the job's network"], ["dataset", job.dataset_id, "the job's data"]]) {
    const select = fields[name];
    if (![...select.options].some((option) => option.value === id)) select.prepend(new Option(what, id)); // an old one
    select.value = id;
  }
  const percents = [study.budget.ratio, ...study.smaller_ratios].map((ratio) => Number((100 * ratio).toPrecision(12)));
  fields.metric.value = study.budget.metric;
  fields.ratio.step = "any"; // a slider rounds what is none of its steps
  fields.ratio.min = Math.min(Number(fields.ratio.min), percents[0]);
  fields.ratio.max = Math.max(Number(fields.ratio.max), percents[0]);
  fields.ratio.value = percents[0];
  fields.smaller.value = percents.slice(1).join(", ");
  if (study.accuracy_floor) fields.floor.value = Number((100 * study.accuracy_floor).toPrecision(12));
  fields.weight_bits.value = study.space.weight_bits.join(", ");
  fields.activation_bits.value = study.space.activation_bits.join(", ");
  if (study.target) {
    if (![...fields.target.options].some((option) => option.value === study.target)) fields.target.append(new Option(study.target));
    fields.target.value = study.target;
  }
  fields.searcher.value = study.searcher;
  fillOptions(fields.searcher.selectedOptions[0], study.searcher_options);
  fields.seed.value = study.seed;
  fields.evaluations.step = "any";
  fields.evaluations.value = evaluations ?? study.effort.evaluations;
  fields.epochs.value = study.confirmation.finetune_epochs;
  fields.name.value = `${job.name.slice(0, 190)} (copy)`;
  for (const details of fields.smaller.form.querySelectorAll("details")) {
    if ([...details.querySelectorAll("input[type=text]")].some((input) => input.value)) details.open = true;
  }
}
