// Buttons marked data-rename ask for another name of what stands at that address.

import { SILENT, trouble } from "./live.js";

async function rename(button) {
  const address = new URL(button.dataset.rename, location.href);
  const before = await fetch(address, { cache: "no-store" });
  const { name } = await before.json();
  const wanted = window.prompt("Another name", name);
  if (!wanted || wanted === name) return;
  // Under the tag of what the reader saw, so that nobody else's change is undone unseen.
  const headers = { "Content-Type": "application/json", "If-Match": before.headers.get("ETag") };
  const response = await fetch(address, { method: "PATCH", headers, body: JSON.stringify({ name: wanted }) });
  if (response.ok) location.reload();
  else trouble((await response.json()).detail);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-rename]");
  if (button) rename(button).catch(() => trouble(SILENT));
});
