// Two policies: what each keeps of a group.

import { drawDiff } from "./comparisons.js";
import { drawFrom, keepDrawn } from "./tables.js";

keepDrawn(() =>
  drawFrom("diff", (rows) => {
    const groups = rows.map(({ dataset }) => ({
      group: dataset.group,
      channels: +dataset.channels,
      a: +dataset.a,
      b: +dataset.b,
    }));
    return (target) => drawDiff(target, groups);
  }),
);
