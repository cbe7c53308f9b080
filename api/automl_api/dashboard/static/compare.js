// Jobs side by side: their points, in the metric that is chosen.

import { ready } from "./charts.js";
import { drawJointFront, drawReached } from "./comparisons.js";
import { refresh } from "./live.js";
import { drawFrom, forgetDrawn, keepDrawn } from "./tables.js";

function draw() {
  const names = [...document.querySelectorAll("#jobs-table tbody tr")].map((row) => row.dataset.name);
  drawFrom("points", (rows) => {
    const points = rows.map(({ dataset }) => ({
      job: +dataset.job,
      name: names[dataset.job],
      number: +dataset.number,
      share: +dataset.share,
      accuracy: +dataset.accuracy,
      isConfirmed: "confirmed" in dataset,
      isOnFront: "front" in dataset,
    }));
    return (target) => {
      const hidden = drawJointFront(target, points, target.dataset.metric);
      const text = `${hidden} much worse ${hidden === 1 ? "point lies" : "points lie"} below the picture; the table has them.`;
      document.getElementById("hidden").textContent = hidden ? text : "";
    };
  });
  drawFrom("reached", (rows) => {
    const steps = rows.map(({ dataset }) => ({
      job: +dataset.job,
      name: names[dataset.job],
      evaluations: +dataset.evaluations,
      value: +dataset.value,
    }));
    return (target) => drawReached(target, steps);
  });
}

document.addEventListener("change", async (event) => {
  const { form } = event.target;
  if (form?.id !== "axes") return;
  history.replaceState(null, "", `?${new URLSearchParams(new FormData(form))}`);
  await refresh();
  await ready;
  forgetDrawn();
  draw();
});

keepDrawn(draw);
