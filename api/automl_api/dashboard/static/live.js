// Keeps a page in step with its service: what is marked data-live is fetched again and patched in
// place, so that focus, scrolling and open details stay where they are.

import { ask, ENDED, isSignedOut, signInLink, SILENT } from "./session.js";

const AWAY = "Your session has ended. This page goes on by itself as soon as you signed in again.";

export function trouble(text) {
  const banner = document.getElementById("trouble");
  banner.hidden = text === "";
  if (banner.firstChild?.data === text) return;
  banner.replaceChildren(text, ...([AWAY, ENDED].includes(text) ? [" ", signInLink()] : []));
}

// Fetches this page again; with isWhole also what is expensive to make. Says whether it could.
export async function refresh(isWhole = false) {
  const headers = { Accept: "text/html", ...(isWhole ? {} : { "X-Part": "live" }) };
  let response;
  let text;
  try {
    response = await fetch(location.href, { headers, cache: "no-store" });
    text = await response.text();
  } catch {
    trouble(SILENT);
    return false;
  }
  if (isSignedOut(response)) {
    trouble(AWAY);
    return false;
  }
  const wanted = new DOMParser().parseFromString(text, "text/html");
  if (!response.ok) {
    trouble(wanted.querySelector("main p")?.textContent ?? `The service answered ${response.status}.`);
    return false;
  }
  trouble("");
  for (const old of document.querySelectorAll("[data-live]")) {
    const found = wanted.getElementById(old.id);
    if (found && (isWhole || old.dataset.live !== "whole")) patch(old, found);
  }
  return true;
}

// Sends a POST; returns what is `told`, or the `problem` document of a refusal.
// by: `ask`, which has a user sign in who has to, or `fetch` for what nobody waits for.
export async function send(address, options = {}, by = ask) {
  try {
    const response = await by(address, { method: "POST", ...options });
    if (isSignedOut(response)) return { problem: { detail: ENDED } };
    const told = await response.json();
    return response.ok ? { told } : { problem: told };
  } catch {
    return { problem: { detail: SILENT } };
  }
}

// Forms that are marked data-address are sent as JSON; afterwards gets the answer.
export function sendForms(afterwards) {
  document.addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (!form.dataset.address) return;
    const fields = [...new FormData(form)].map(([name, value]) => [name, form.elements[name].type === "number" ? Number(value) : value]);
    const headers = { "Content-Type": "application/json" };
    if (submitter) submitter.disabled = true; // a second press would send it twice
    const { problem, told } = await send(new URL(form.dataset.address, location.href), { body: JSON.stringify(Object.fromEntries(fields)), headers });
    if (submitter) submitter.disabled = false;
    if (problem) trouble(problem.detail);
    else await afterwards(told);
  });
}

export function steer(afterwards) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-command]");
    if (!button) return;
    if (button.dataset.question && !window.confirm(button.dataset.question)) return;
    button.disabled = true;
    const { problem } = await send(new URL(button.dataset.command, location.href));
    button.disabled = false;
    await afterwards();
    if (problem) trouble(problem.detail);
  });
}

// Makes the old element like the wanted one and keeps every node that is the same.
export function patch(old, wanted) {
  patchAttributes(old, wanted);
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const child of [...wanted.childNodes]) {
    const known = child.dataset?.key ? keyed.get(child.dataset.key) : alike(place, child);
    if (!known) {
      old.insertBefore(document.importNode(child, true), place);
      continue;
    }
    if (known === place) place = place.nextSibling;
    else old.insertBefore(known, place);
    if (known.nodeType === Node.ELEMENT_NODE) patch(known, child);
    else if (known.data !== child.data) known.data = child.data;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function alike(old, wanted) {
  const isAlike = old && old.nodeName === wanted.nodeName && !old.dataset?.key;
  return isAlike ? old : undefined;
}

const OWN_ATTRIBUTES = ["open", "disabled"]; // what a reader opened, a button that was pressed

function patchAttributes(old, wanted) {
  for (const name of old.getAttributeNames()) {
    if (!wanted.hasAttribute(name) && !OWN_ATTRIBUTES.includes(name)) old.removeAttribute(name);
  }
  for (const name of wanted.getAttributeNames()) {
    const value = wanted.getAttribute(name);
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}
