"""Summary and tables of `bench-search`, from whatever cells are finished."""

import math
import statistics
from collections import defaultdict
from typing import Any

from benchmarks import records
from benchmarks.cells import Cells

CASES = ("resnet-20-50", "resnet-20-30", "plain-20-50", "mobilenet-v2-50", "longer-resnet-20-50")
TITLES = {
    "resnet-20-50": "ResNet-20, 50 % of MACs, 200 evaluations",
    "resnet-20-30": "ResNet-20, 30 % of MACs, 200 evaluations",
    "plain-20-50": "Plain-20, 50 % of MACs, 100 evaluations",
    "mobilenet-v2-50": "MobileNetV2, 50 % of MACs, 60 evaluations",
    "longer-resnet-20-50": "ResNet-20, 50 % of MACs, 800 evaluations",
}
CLOSE = 0.99  # of the final best accuracy
Runs = dict[str, list[dict[str, Any]]]


def runs_of(cells: Cells, case: str) -> Runs:
    """Return the finished runs of each searcher, by seed; refusals are left out."""
    found: Runs = defaultdict(list)
    for path in sorted(cells.folder.glob(f"{case}-*.json")):
        cell = cells.read(path.stem)
        if cell is not None and "fresh_accuracy" in cell:
            found[cell["searcher"]].append(cell)
    return found


def best_so_far(run: dict[str, Any]) -> list[tuple[float, float, float]]:
    """Return evaluations, CPU seconds and accuracy at each new best, by the recipe's score."""
    steps: list[tuple[float, float, float]] = []
    spent, cpu, best = 0.0, 0.0, -math.inf
    for score, evaluations, seconds, _, accuracy, _ in run["trials"]:
        spent, cpu = spent + evaluations, cpu + seconds
        if score is not None and score > best:
            best = score
            steps.append((spent, cpu, accuracy))
    return steps


def refusals_of(cells: Cells, case: str) -> dict[str, str]:
    """Return why a searcher refused a case, by its name."""
    found = [cells.read(path.stem) or {} for path in sorted(cells.folder.glob(f"{case}-*.json"))]
    return {cell["searcher"]: cell["refused"] for cell in found if "refused" in cell}


def write(cells: Cells) -> dict[str, Any]:
    """Gather the finished cells into the summary, store and return it."""
    summary = summarise(cells)
    records.save("search", summary, {"cells": f"{cells.folder.name}/"}, [0, 1, 2])
    return summary


def summarise(cells: Cells) -> dict[str, Any]:
    """Return the figures of the finished cells under plain keys."""
    summary: dict[str, Any] = {}
    for case in CASES:
        runs = runs_of(cells, case)
        for name, found in runs.items():
            summary |= {
                f"{case}.{name}.{key}": value for key, value in _summary(found, runs).items()
            }
    for path in sorted(cells.folder.glob("tuned-*.json")):
        cell = cells.read(path.stem)
        if cell is not None and "test_accuracy" in cell:
            key = f"resnet-20-50.{cell['searcher']}"
            summary[f"{key}.tuned_fresh"] = round(cell["fresh_accuracy"], 4)
            summary[f"{key}.tuned_test"] = round(cell["test_accuracy"], 4)
    return summary


def _summary(found: list[dict[str, Any]], runs: Runs) -> dict[str, Any]:
    fresh = [run["fresh_accuracy"] for run in found]
    return {
        "seeds": len(found),
        "fresh": round(statistics.fmean(fresh), 4),
        "fresh_sd": round(statistics.stdev(fresh), 4) if len(fresh) > 1 else None,
        "against_random": _against(fresh, runs.get("random", [])),
        "search": _mean(found, "search_accuracy"),
        "evaluations_to_99_percent": round(statistics.fmean(map(_evaluations, found)), 1),
        "auto_is_there_after": _auto_is_there(found, runs.get("auto", [])),
        "searcher_cpu_seconds": _mean(found, "searcher_cpu_seconds", 1),
        "searcher_cpu_share": round(_share(found), 3),
        "cpu_seconds": _mean(found, "cpu_seconds", 0),
        "wall_seconds": _mean(found, "wall_seconds", 0),
        "training_cpu_seconds": _mean(found, "training_cpu_seconds", 0),
        "largest_macs_ratio": round(max(run["macs_ratio"] for run in found), 4),
    }


def _mean(found: list[dict[str, Any]], field: str, digits: int = 4) -> float:
    return round(statistics.fmean(run[field] for run in found), digits)


def _share(found: list[dict[str, Any]]) -> float:
    """Return the searcher's own CPU time against that of the evaluations."""
    own = sum(run["searcher_cpu_seconds"] for run in found)
    evaluating = sum(trial[2] for run in found for trial in run["trials"])
    return own / max(evaluating, 1e-9)


def _evaluations(run: dict[str, Any]) -> float:
    steps = best_so_far(run)
    wanted = CLOSE * steps[-1][2]
    return next(spent for spent, _, accuracy in steps if accuracy >= wanted)


def _auto_is_there(found: list[dict[str, Any]], auto: list[dict[str, Any]]) -> float | None:
    """Return the evaluations after which `auto` has these runs' mean best score; None for never.

    Scores are those of the common recipe; the mean over auto's runs, all of which get there.
    """
    wanted = -statistics.fmean(run["search_kl"] for run in found)
    reached = [_spent_until(run, wanted) for run in auto]
    told = [spent for spent in reached if spent is not None]
    return round(statistics.fmean(told), 1) if told and len(told) == len(reached) else None


def _spent_until(run: dict[str, Any], wanted: float) -> float | None:
    spent = 0.0
    for score, evaluations, *_ in run["trials"]:
        spent += evaluations
        if score is not None and score >= wanted:
            return spent
    return None


def _against(fresh: list[float], random: list[dict[str, Any]]) -> str:
    """Compare means over seeds; differences under two standard errors are noise."""
    others = [run["fresh_accuracy"] for run in random]
    if len(fresh) < 2 or len(others) < 2:
        return "one seed"
    difference = statistics.fmean(fresh) - statistics.fmean(others)
    error = math.sqrt(
        statistics.variance(fresh) / len(fresh) + statistics.variance(others) / len(others)
    )
    word = "noise" if abs(difference) < 2 * error else "better" if difference > 0 else "worse"
    return f"{100 * difference:+.1f} +- {100 * error:.1f}: {word}"


def table(summary: dict[str, Any]) -> str:
    """Render the summary as Markdown tables, one for each case, the best first."""
    return "\n\n".join(part for case in CASES if (part := case_table(case, summary)))


def case_table(case: str, summary: dict[str, Any]) -> str:
    """Render one case; empty where none of its cells is finished."""
    names = [
        key.removeprefix(f"{case}.").removesuffix(".seeds")
        for key in summary
        if key.startswith(f"{case}.") and key.endswith(".seeds")
    ]
    names.sort(key=lambda name: -summary[f"{case}.{name}.fresh"])
    if not names:
        return ""
    lines = [
        f"### {TITLES[case]}",
        "",
        "| searcher | seeds | fresh | sd | against random | on the 1,000 | evaluations to 99 % | "
        "auto is there after | searcher CPU s | share | CPU s | training CPU s | tuned, test |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:

        def value(key: str, name: str = name) -> Any:
            return summary.get(f"{case}.{name}.{key}")

        cells = [
            name,
            value("seeds"),
            _percent(value("fresh")),
            _percent(value("fresh_sd")),
            value("against_random"),
            _percent(value("search")),
            value("evaluations_to_99_percent"),
            value("auto_is_there_after") or "",
            value("searcher_cpu_seconds"),
            f"{100 * value('searcher_cpu_share'):.0f} %",
            value("cpu_seconds"),
            value("training_cpu_seconds") or "",
            _percent(value("tuned_test")),
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
