"""Summary and table of `bench-bits`, from whatever cells are finished."""

import statistics
from collections import defaultdict
from typing import Any

from benchmarks import records
from benchmarks.cells import Cells

SIZES = ("10x", "20x", "40x")


def write(cells: Cells) -> str:
    """Gather the finished cells into the summary, store it, and return it as a table."""
    summary = summarise(cells)
    records.save("bits", summary, {"cells": f"{cells.folder.name}/"}, [0, 1, 2])
    return table(summary)


def summarise(cells: Cells) -> dict[str, Any]:
    """Return the figures of the finished cells under plain keys."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    tuned: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(cells.folder.glob("*.json")):
        cell = cells.read(path.stem) or {}
        size = path.stem.removeprefix("tuned-").partition("-")[0]
        if size in SIZES:
            (tuned if path.stem.startswith("tuned-") else found)[size, cell["method"]].append(cell)
    summary: dict[str, Any] = {}
    uncut = cells.read("tuned-uncut")
    if uncut is not None:
        summary["uncut.tuned_test"] = round(uncut["test_accuracy"], 4)
    for size, method in sorted(found, key=lambda pair: (SIZES.index(pair[0]), pair[1])):
        figures = {**_searched(found[size, method]), **_tuned(tuned[size, method])}
        summary |= {f"{size}.{method}.{key}": value for key, value in figures.items()}
    return summary


def table(summary: dict[str, Any]) -> str:
    """Return the summary as a Markdown table, one row for each size and method."""
    columns = ("seeds", "fresh", "spread", "tuned_test", "smaller")
    lines = ["| size | method | " + " | ".join(columns) + " |", "| --- " * 7 + "|"]
    for pair in dict.fromkeys(key.rpartition(".")[0] for key in summary if key[:3] in SIZES):
        cells = [_shown(summary, pair, column) for column in columns]
        lines.append(f"| {pair.replace('.', ' | ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(summary: dict[str, Any], pair: str, column: str) -> str:
    if column == "fresh" and f"{pair}.unreachable" in summary:
        return "unreachable"
    value = summary.get(f"{pair}.{column}")
    return "" if value is None else str(value)


def section(cells: Cells) -> str | None:
    """Return the section of the benchmarks' page; None while no cell is finished."""
    summary = summarise(cells)
    if not summary:
        return None
    return (
        "## Sparsity and bits\n\nResNet-20 at 10, 20 and 40 times fewer bytes, 100 evaluations on "
        "the same 1,000 images with reconstruction. `joint` searches channels, single weights and "
        "the bits of each layer; `channel-b` and `element-b` search what is removed with every "
        "layer at b bits. `fresh` is the accuracy on 4,000 images that chose nothing, before "
        "tuning; `tuned_test` after 2 epochs of quantisation-aware training on the test split; "
        "`smaller` is measured on the packed file. Cells that are missing were not run yet.\n\n"
        f"{table(summary)}\n"
    )


def _searched(runs: list[dict[str, Any]]) -> dict[str, Any]:
    reached = [run["fresh_accuracy"] for run in runs if "fresh_accuracy" in run]
    if not reached:
        return {"seeds": len(runs), "unreachable": True}
    return {
        "seeds": len(runs),
        "fresh": round(statistics.fmean(reached), 4),
        "spread": round(statistics.stdev(reached), 4) if len(reached) > 1 else None,
    }


def _tuned(runs: list[dict[str, Any]]) -> dict[str, Any]:
    if not runs:
        return {}
    return {
        "tuned_test": round(statistics.fmean(run["test_accuracy"] for run in runs), 4),
        "smaller": round(statistics.fmean(run["smaller"] for run in runs), 1),
    }
