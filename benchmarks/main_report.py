"""Summary and table of `bench-main`, from whatever cells are finished."""

import itertools
import statistics
from typing import Any

from scipy.stats import spearmanr

from benchmarks import records
from benchmarks.cells import Cells

SEARCHERS = ("uniform", "random", "amc", "sb3-ddpg")


def write(cells: Cells) -> dict[str, Any]:
    """Gather the finished cells into the summary, store and return it."""
    summary: dict[str, Any] = {}
    for percent in (50, 30):
        for name in SEARCHERS:
            _searched(cells, name, percent, summary)
            _trained(cells, name, percent, summary)
    uncut, baseline = cells.read("uncut"), _all(cells, "finetune-baseline-*")
    if uncut is not None:
        summary["baseline.search_best"] = round(uncut["search_accuracy"], 4)
        summary["baseline.fresh"] = round(uncut["fresh_accuracy"], 4)
    if baseline:
        summary["baseline.finetuned_seeds"] = len(baseline)
        summary["baseline.finetuned_fresh"] = _mean(baseline, "fresh_accuracy")
        summary["baseline.finetuned_test"] = _mean(baseline, "test_accuracy")
        for percent in (50, 30):
            for name in SEARCHERS:
                tuned = summary.get(f"{name}.{percent}.finetuned_test")
                if tuned is not None:
                    drop = summary["baseline.finetuned_test"] - tuned
                    summary[f"{name}.{percent}.drop_test"] = round(drop, 4)
    summary |= _correlations(cells)
    summary |= _verdicts(summary)
    records.save("main", summary, {"cells": f"{cells.folder.name}/"}, [0, 1, 2])
    return summary


def _all(cells: Cells, pattern: str) -> list[dict[str, Any]]:
    found = [cells.read(path.stem) for path in sorted(cells.folder.glob(f"{pattern}.json"))]
    return [cell for cell in found if cell is not None]


def _mean(found: list[dict[str, Any]], field: str) -> float:
    return round(statistics.fmean(cell[field] for cell in found), 4)


def _spread(found: list[dict[str, Any]], field: str) -> float | None:
    values = [cell[field] for cell in found]
    return round(statistics.stdev(values), 4) if len(values) > 1 else None


def _searched(cells: Cells, name: str, percent: int, summary: dict[str, Any]) -> None:
    found = _all(cells, f"search-{name}-{percent}-*")
    if not found:
        return
    key = f"{name}.{percent}"
    summary[f"{key}.seeds"] = len(found)
    summary[f"{key}.search_best"] = round(statistics.fmean(c["best"]["score"] for c in found), 4)
    summary[f"{key}.fresh"] = _mean(found, "fresh_accuracy")
    summary[f"{key}.fresh_sd"] = _spread(found, "fresh_accuracy")
    for field in ("cpu_seconds_per_episode", "wall_seconds_per_episode", "forward_cpu_share"):
        summary[f"{key}.{field}"] = _mean(found, field)
    summary[f"{key}.macs_ratio"] = round(max(c["cost"]["macs"] for c in found) / 40_551_040, 4)


def _trained(cells: Cells, name: str, percent: int, summary: dict[str, Any]) -> None:
    for kind, word in (("finetune", "finetuned"), ("scratch", "scratch")):
        found = _all(cells, f"{kind}-{name}-{percent}-*")
        if found:
            key = f"{name}.{percent}.{word}"
            summary[f"{key}_seeds"] = len(found)
            summary[f"{key}_fresh"] = _mean(found, "fresh_accuracy")
            summary[f"{key}_test"] = _mean(found, "test_accuracy")
            summary[f"{key}_test_sd"] = _spread(found, "test_accuracy")


def _correlations(cells: Cells) -> dict[str, Any]:
    found = _all(cells, "spearman-*")
    if len(found) < 5:
        return {"spearman.policies": len(found)}
    tuned = [cell["tuned"]["fresh_accuracy"] for cell in found]
    names = [key for key in found[0] if key not in ("widths", "tuned", "commit")]
    rows = {f"spearman.{name}": _spearman([cell[name] for cell in found], tuned) for name in names}
    return {"spearman.policies": len(found), **rows}


def _spearman(scores: list[float], tuned: list[float]) -> float:
    correlated: Any = spearmanr(scores, tuned)
    return round(float(correlated.statistic), 3)


def _verdicts(summary: dict[str, Any]) -> dict[str, Any]:
    """Say in words whether AMC beats random at equal evaluations, before and after fine-tuning."""
    measures = {
        "before_tuning": ("fresh", "fresh_sd", "seeds"),
        "fine_tuned": ("finetuned_test", "finetuned_test_sd", "finetuned_seeds"),
    }
    verdicts: dict[str, Any] = {}
    for percent, (moment, fields) in itertools.product((50, 30), measures.items()):
        amc, random = (
            [summary.get(f"{name}.{percent}.{field}") for field in fields]
            for name in ("amc", "random")
        )
        if None in (*amc, *random):
            continue
        verdicts[f"amc_against_random.{percent}.{moment}"] = _verdict(amc, random)
    return verdicts


def _verdict(amc: list[Any], random: list[Any]) -> str:
    """Compare two of (mean, spread, seeds)."""
    error = (amc[1] ** 2 / amc[2] + random[1] ** 2 / random[2]) ** 0.5
    difference = amc[0] - random[0]
    if abs(difference) < 2 * error:
        verdict = "no difference beyond noise"
    else:
        verdict = "AMC beats random" if difference > 0 else "AMC does not beat random"
    return f"{verdict}: {100 * difference:+.1f} points, standard error {100 * error:.1f}"


def table(summary: dict[str, Any]) -> str:
    """Render the summary as a Markdown table."""
    columns = ("search_best", "fresh", "fresh_sd", "finetuned_fresh", "finetuned_test", "drop_test")
    lines = [
        "| MACs kept | searcher | seeds | best on the 1,000 | on 4,000 fresh | its spread | "
        "fine-tuned, fresh | fine-tuned, test | drop, test | seeds tuned | from scratch, test | "
        "CPU s an episode | wall s |",
        f"|{' --- |' * 13}",
    ]
    if "baseline.fresh" in summary:
        cells = [_percent(summary.get(f"baseline.{column}")) for column in columns]
        row = ("100 %", "uncut", "", *cells, summary.get("baseline.finetuned_seeds", 0), "", "", "")
        lines.append(f"| {' | '.join(map(str, row))} |")
    for percent in (50, 30):
        for name in SEARCHERS:
            key = f"{name}.{percent}"
            if f"{key}.fresh" not in summary:
                continue
            cells = [_percent(summary.get(f"{key}.{column}")) for column in columns]
            scratch = _percent(summary.get(f"{key}.scratch_test"))
            seeds, tuned = summary[f"{key}.seeds"], summary.get(f"{key}.finetuned_seeds", 0)
            times = [
                f"{summary[f'{key}.{kind}_seconds_per_episode']:.2f}" for kind in ("cpu", "wall")
            ]
            row = (f"{percent} %", name, seeds, *cells, tuned, scratch, *times)
            lines.append(f"| {' | '.join(map(str, row))} |")
    rest = [f"- {key}: {value}" for key, value in summary.items() if key.startswith("amc_against")]
    rest += [f"- {key}: {value}" for key, value in summary.items() if key.startswith("spearman")]
    return "\n".join([*lines, "", *rest])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
