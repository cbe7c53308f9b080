"""Summary and table of `bench-micronet`, from whatever cells are finished."""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import records
from benchmarks.cells import Cells

NAME = "micronet"
SEEDS = (0, 1, 2)
FLOOR_POINTS = 2.0
STAGES = ("prune", "distil", "activations", "weights", "fold")
BILLION = 1e9


def write(cells: Cells) -> str:
    """Gather the finished cells into the summary, store it, and return it as a table."""
    summary = summarise(cells)
    records.save(NAME, summary, {"cells": f"{cells.folder.name}/"}, list(SEEDS))
    return table(cells)


def summarise(cells: Cells) -> dict[str, Any]:
    """Return the figures of the finished cells under plain keys."""
    tuned, summary = _tuned(cells), dict[str, Any]()
    uncut, by_hand = tuned.get("uncut"), tuned.get("by hand")
    for name, cell in tuned.items():
        key = name.replace(" ", "-")
        summary[f"{key}.micronet"] = round(cell["micronet"] / BILLION, 6)
        summary[f"{key}.tuned_test"] = round(cell["test_accuracy"], 4)
        if uncut is not None and cell is not uncut:
            lost = 100 * (uncut["test_accuracy"] - cell["test_accuracy"])
            summary[f"{key}.lost_points"] = round(lost, 2)
            summary[f"{key}.is_above_floor"] = lost <= FLOOR_POINTS
    for name, told in (cells.read("untuned-by-hand") or {"untuned": {}})["untuned"].items():
        summary[f"by-hand.untuned_{name}"] = round(told["accuracy"], 4)
    searched = [cell for name, cell in tuned.items() if name.startswith("searched")]
    if by_hand is not None and searched:
        mean = statistics.fmean(cell["micronet"] for cell in searched)
        summary["searched.share_of_by_hand"] = round(mean / by_hand["micronet"], 4)
        accuracy = statistics.fmean(cell["test_accuracy"] for cell in searched)
        summary["searched.points_over_by_hand"] = round(
            100 * (accuracy - by_hand["test_accuracy"]), 2
        )
    return summary


def table(cells: Cells) -> str:
    """Return a Markdown table: a row for each tuned network, with the accuracy by stage."""
    titles = ("network", "score", *STAGES, "test")
    lines = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    for name, cell in _tuned(cells).items():
        reached = {each["stage"]: f"{each['search_accuracy']:.2%}" for each in cell["stages"]}
        shown = [name, f"{cell['micronet'] / BILLION:.5f}"]
        shown += [reached.get(stage, "") for stage in STAGES]
        lines.append(f"| {' | '.join(shown)} | {cell['test_accuracy']:.2%} |")
    return "\n".join(lines)


def section(cells: Cells) -> str | None:
    """Return the section of the benchmarks' page; None while no cell is finished."""
    if not _tuned(cells):
        return None
    return (
        "## Stage by stage\n\nResNet-20 through the pipeline of the MicroNet Challenge's winners: "
        "their ratios and bits set by hand, and such as `auto` found with 600 evaluations (some 98 "
        "policies, each distilled for 32 steps) for at most 0.95 of that score. The score refers "
        "to WideResNet-28-10 (CIFAR-100 track, products added up at 32 bits). Columns of stages "
        "have the accuracy on the search split behind each, `test` that of the end on the test "
        "split; two epochs behind `distil`, `activations` and `weights`, for the uncut network "
        f"as well. {FLOOR_POINTS:g} points "
        "below that one are the floor. Rows that are missing were not run yet."
        f"\n\n{table(cells)}\n"
    )


def _tuned(cells: Cells) -> Mapping[str, dict[str, Any]]:
    """Return the finished cells of tuned networks by the name of their row."""
    names = {"uncut": "tuned-uncut", "by hand": "tuned-by-hand"}
    names |= {f"searched {seed}": f"tuned-searched-{seed}" for seed in SEEDS}
    found = {name: cells.read(key) for name, key in names.items()}
    return {name: cell for name, cell in found.items() if cell is not None}
