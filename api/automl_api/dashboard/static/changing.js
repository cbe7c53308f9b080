// Buttons that change what stands at an address: data-rename asks for another name, data-extend for
// more evaluations.

import { trouble } from "./live.js";
import { ask, SILENT } from "./session.js";

async function change(address, question, told, changed) {
  const before = await ask(address, { cache: "no-store" });
  if (!before.ok) {
    trouble((await before.json()).detail);
    return;
  }
  const known = told(await before.json());
  const wanted = window.prompt(question, known);
  if (!wanted || wanted === String(known)) return;
  // Under the tag of what the reader saw, so that nobody else's change is undone unseen.
  const headers = { "Content-Type": "application/json", "If-Match": before.headers.get("ETag") };
  const response = await ask(address, { method: "PATCH", headers, body: JSON.stringify(changed(wanted)) });
  if (response.ok) location.reload();
  else trouble((await response.json()).detail);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-rename], [data-extend]");
  if (!button) return;
  const { rename, extend } = button.dataset;
  const done = rename
    ? change(new URL(rename, location.href), "Another name", (each) => each.name, (name) => ({ name }))
    : change(
        new URL(extend, location.href),
        "Evaluations in all, those that are spent included",
        (job) => job.study.effort.evaluations,
        (evaluations) => ({ effort: { evaluations: Number(evaluations) } }),
      );
  done.catch(() => trouble(SILENT));
});
