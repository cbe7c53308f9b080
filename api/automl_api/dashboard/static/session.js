// A session that has ended begins again in place: nothing that was typed or chosen is lost.

import { addressOf } from "./addresses.js";

export const ENDED = "Your session has ended, so this was not done. Sign in and do it again; what you typed is still there.";
export const SILENT = "The service does not answer. This page goes on by itself as soon as it does.";

const dialog = document.getElementById("session-ended"); // none where the service wants no key
let asking; // while the dialog is open: whether the user signed in

// Asks for the key; says whether there is a session again.
export function signIn() {
  asking ??= new Promise((answer) => {
    dialog.returnValue = "";
    const told = () => {
      asking = undefined;
      answer(dialog.returnValue === "signed in");
    };
    dialog.addEventListener("close", told, { once: true });
    dialog.showModal();
  });
  return asking;
}

// Fetches for a user who waits for it: where the session has ended they sign in, and it is sent again.
export async function ask(address, options = {}) {
  const response = await fetch(address, options);
  if (!isSignedOut(response)) return response;
  return (await signIn()) ? fetch(address, options) : response;
}

export function isSignedOut(response) {
  return Boolean(dialog) && (response.status === 401 || (response.redirected && new URL(response.url).pathname.endsWith("/sign-in")));
}

// The way back for who did not sign in: it leads to this page again, and asks in place where it can.
export function signInLink() {
  const link = document.createElement("a");
  const here = `${location.pathname}${location.search}`.slice(new URL(addressOf(".")).pathname.length - 1);
  link.href = addressOf(`sign-in?next=${encodeURIComponent(here)}`);
  link.textContent = "Sign in";
  link.dataset.signIn = "";
  return link;
}

async function refusalOf(form) {
  try {
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(form.action, { method: "POST", body, redirect: "manual" });
    if (response.type === "opaqueredirect") return ""; // to the page that was wanted
    const told = new DOMParser().parseFromString(await response.text(), "text/html");
    return (told.querySelector("[role=alert]") ?? told.querySelector("main p"))?.textContent ?? `The service answered ${response.status}.`;
  } catch {
    return SILENT;
  }
}

async function tryKey(event) {
  if (event.submitter.formMethod === "dialog") return;
  event.preventDefault();
  const [form, wrong] = [event.target, dialog.querySelector("[role=alert]")];
  event.submitter.disabled = true;
  const refusal = await refusalOf(form);
  event.submitter.disabled = false;
  wrong.textContent = refusal;
  wrong.hidden = refusal === "";
  if (refusal) return;
  form.reset();
  document.getElementById("trouble").hidden = true;
  dialog.close("signed in");
}

// Whether there is a session; one that has ended is begun again.
async function isSignedIn() {
  const response = await ask(addressOf("v1/jobs?limit=1"), { cache: "no-store" }).catch(() => undefined);
  return response?.status !== 401; // whatever else is wrong, the browser itself will say
}

// Forms that the browser sends itself, and files: it would show a bare refusal in place of the page.
async function sendLater(event) {
  const { target: form, submitter } = event;
  if (form.getAttribute("method") !== "post" || dialog.contains(form)) return;
  event.preventDefault();
  if (submitter) submitter.disabled = true;
  if (await isSignedIn()) form.submit();
  if (submitter) submitter.disabled = false;
}

async function followLater(event) {
  if (event.target.closest("[data-sign-in]") && !isForAnotherTab(event)) {
    event.preventDefault();
    await signIn();
    return;
  }
  const link = event.target.closest("a[download], a[href*='/v1/']");
  if (!link || isForAnotherTab(event) || "checked" in link.dataset) return;
  event.preventDefault();
  if (!(await isSignedIn())) return;
  link.dataset.checked = "";
  link.click(); // with all that its attributes say
  delete link.dataset.checked;
}

function isForAnotherTab(event) {
  return event.ctrlKey || event.metaKey || event.shiftKey;
}

if (dialog) {
  dialog.querySelector("form").addEventListener("submit", tryKey);
  document.addEventListener("submit", sendLater);
  document.addEventListener("click", followLater);
}
