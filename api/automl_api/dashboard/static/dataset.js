// One data set: its images come behind the page, since reading them takes seconds.

import { SILENT } from "./session.js";

const link = document.getElementById("show-images");

async function show() {
  const reading = document.getElementById("reading");
  reading.textContent = "reading …";
  try {
    const response = await fetch(link.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const found = page.getElementById("images");
    if (found) document.getElementById("images").replaceWith(document.importNode(found, true));
    else reading.textContent = page.querySelector("main p")?.textContent ?? `The service answered ${response.status}.`;
  } catch {
    reading.textContent = SILENT;
  }
}

if (link) show();
