// Every operation of the interface, from its own description. What is tried out is sent to this
// service alone, with the session of this browser.

/* global SwaggerUIBundle */

import { trouble } from "./live.js";
import { SILENT } from "./session.js";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function follow() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

async function show() {
  const response = await fetch(new URL("openapi.json", location.href));
  const description = await response.json();
  SwaggerUIBundle({
    // Where this page stands, whatever a proxy does to the paths of requests.
    spec: { ...description, servers: [{ url: new URL(".", location.href).href }] },
    dom_id: "#interface",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // another host's
  });
}

dark.addEventListener("change", follow);
follow();
show().catch(() => trouble(SILENT));
