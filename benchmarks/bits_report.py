"""Summary and table of `bench-bits`, from whatever cells are finished."""

import statistics
from collections import defaultdict
from typing import Any

from benchmarks import records
from benchmarks.cells import Cells

SIZES = ("10x", "20x", "40x")


def write(cells: Cells) -> str:
    """Gather the finished cells into the summary, store it, and return it as a table."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    tuned: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    uncut = cells.read("tuned-uncut")
    for path in sorted(cells.folder.glob("*.json")):
        cell = cells.read(path.stem) or {}
        size = path.stem.removeprefix("tuned-").partition("-")[0]
        if size in SIZES:
            (tuned if path.stem.startswith("tuned-") else found)[size, cell["method"]].append(cell)
    summary: dict[str, Any] = {}
    if uncut is not None:
        summary["uncut.tuned_test"] = round(uncut["test_accuracy"], 4)
    for (size, method), runs in found.items():
        summary |= {f"{size}.{method}.{k}": v for k, v in _searched(runs).items()}
        summary |= {f"{size}.{method}.{k}": v for k, v in _tuned(tuned[size, method]).items()}
    records.save("bits", summary, {"cells": f"{cells.folder.name}/"}, [0, 1, 2])
    return "\n".join(_lines(summary, found))


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


def _lines(summary: dict[str, Any], found: dict[tuple[str, str], Any]) -> list[str]:
    titles = ("size", "method", "seeds", "fresh", "spread", "tuned test", "smaller")
    lines = [" ".join(f"{each:>11}" for each in titles)]
    for size, method in sorted(found, key=lambda pair: (SIZES.index(pair[0]), pair[1])):
        row = [size, method]
        for key in ("seeds", "fresh", "spread", "tuned_test", "smaller"):
            value = summary.get(f"{size}.{method}.{key}")
            is_unreachable = key == "fresh" and f"{size}.{method}.unreachable" in summary
            row.append("unreachable" if is_unreachable else "" if value is None else str(value))
        lines.append(" ".join(f"{each:>11}" for each in row))
    return lines
