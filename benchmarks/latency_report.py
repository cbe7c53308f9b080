"""Summary, table and section of `bench-latency`, from whatever cells are finished."""

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from benchmarks import records
from benchmarks.cells import Cells

NAME = "latency"
WAYS = ("latency", "macs", "macs-8")
TUNED = ("resnet-20", "resnet-56")


@dataclass(frozen=True)
class Case:
    """A network, and the seeds of its searches."""

    network: str
    seeds: tuple[int, ...]


CASES = (
    Case("resnet-20", (0, 1, 2)),
    Case("resnet-56", (0, 1, 2)),
    Case("mobilenet-v2", (0,)),
)


def key_of(network: str, way: str, seed: int) -> str:
    """Return the key of a search's cell; that of its fine-tuning ends in `-tuned`."""
    return f"{network}-{way}-{seed}"


def write(cells: Cells) -> dict[str, Any]:
    """Gather the finished cells into the summary, store and return it."""
    summary: dict[str, Any] = {}
    for case in CASES:
        for way in WAYS:
            _gather(cells, case, way, summary)
        _compare(case.network, summary)
    seeds = sorted({seed for case in CASES for seed in case.seeds})
    records.save(NAME, summary, {"cells": f"{cells.folder.name}/"}, seeds)
    return summary


def _gather(cells: Cells, case: Case, way: str, summary: dict[str, Any]) -> None:
    keys = [key_of(case.network, way, seed) for seed in case.seeds]
    found = [cell for cell in map(cells.read, keys) if cell is not None]
    if not found:
        return
    name = f"{case.network}.{way}"
    chosen = [cell["searches"][cell["returned"]] for cell in found]
    summary[f"{name}.seeds"] = len(found)
    summary[f"{name}.searches"] = round(fmean(len(cell["searches"]) for cell in found), 1)
    summary[f"{name}.macs_kept"] = round(fmean(each["macs_ratio"] for each in chosen), 3)
    summary[f"{name}.predicted"] = round(fmean(each["predicted_ratio"] for each in chosen), 3)
    summary[f"{name}.speedup"] = round(fmean(each["measured"]["speedup"] for each in chosen), 2)
    for place, elsewhere in enumerate(found[0]["elsewhere"]):
        speedup = fmean(cell["elsewhere"][place]["speedup"] for cell in found)
        summary[f"{name}.{_place(elsewhere)}.speedup"] = round(speedup, 2)
    fresh = [cell["fresh_accuracy"] for cell in found]
    summary[f"{name}.fresh"] = round(fmean(fresh), 4)
    summary[f"{name}.fresh_sd"] = round(stdev(fresh), 4) if len(fresh) > 1 else None
    tuned = [cell for cell in (cells.read(f"{key}-tuned") for key in keys) if cell is not None]
    if tuned:
        summary[f"{name}.tuned_seeds"] = len(tuned)
        summary[f"{name}.tuned_fresh"] = round(fmean(each["fresh_accuracy"] for each in tuned), 4)
        summary[f"{name}.tuned_test"] = round(fmean(each["test_accuracy"] for each in tuned), 4)


def _place(measured: dict[str, Any]) -> str:
    return f"{measured['target'].removeprefix('cpu-')}_batch_{measured['plan']['batch']}"


def _compare(network: str, summary: dict[str, Any]) -> None:
    """Say by how many points the latency-aware networks are ahead, in units of their noise."""
    ours = f"{network}.latency"
    for way in WAYS[1:]:
        theirs = f"{network}.{way}"
        if f"{ours}.fresh" not in summary or f"{theirs}.fresh" not in summary:
            continue
        ahead = 100 * (summary[f"{ours}.fresh"] - summary[f"{theirs}.fresh"])
        spreads = [summary[f"{name}.fresh_sd"] for name in (ours, theirs)]
        if None in spreads:
            summary[f"{network}.ahead_of_{way}"] = f"{ahead:+.1f} points, one seed"
            continue
        seeds = min(summary[f"{name}.seeds"] for name in (ours, theirs))
        error = 100 * (sum(spread**2 for spread in spreads) / seeds) ** 0.5
        noise = ", noise" if abs(ahead) < 2 * error else ""
        summary[f"{network}.ahead_of_{way}"] = f"{ahead:+.1f} points ± {error:.1f}{noise}"


def table(summary: dict[str, Any]) -> str:
    """Render the summary as a Markdown table."""
    lines = [
        "| network | budget | seeds | searches | MACs kept | speed-up, predicted | measured | "
        "OpenVINO, batch 32 | ONNX Runtime, batch 1 | batch 32 | fresh | its spread | "
        "tuned, fresh | tuned, test |",
        "| --- | --- |" + " ---: |" * 12,
    ]
    for case in CASES:
        for way in WAYS:
            name = f"{case.network}.{way}"
            if f"{name}.seeds" not in summary:
                continue
            places = ("openvino_batch_32", "onnxruntime_batch_1", "onnxruntime_batch_32")
            row = [
                case.network,
                way,
                summary[f"{name}.seeds"],
                summary[f"{name}.searches"],
                f"{100 * summary[f'{name}.macs_kept']:.1f} %",
                f"{1 / summary[f'{name}.predicted']:.2f}",
                f"{summary[f'{name}.speedup']:.2f}",
                *(f"{summary[f'{name}.{place}.speedup']:.2f}" for place in places),
                *map(_percent, (summary[f"{name}.fresh"], summary[f"{name}.fresh_sd"])),
                *(_percent(summary.get(f"{name}.tuned_{where}")) for where in ("fresh", "test")),
            ]
            lines.append(f"| {' | '.join(map(str, row))} |")
    ahead = [f"- {key}: {value}" for key, value in summary.items() if ".ahead_of_" in key]
    return "\n".join([*lines, "", *ahead])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def section(cells: Cells) -> str | None:
    """Return what the benchmarks' page says; None while nothing was measured."""
    summary = records.load(NAME)["summary"]
    if not summary or not any(cells.folder.glob("*.json")):
        return None
    return (
        "## Latency as a budget\n\n`auto`, 100 evaluations a search, networks that run twice as "
        "fast as the uncut one in OpenVINO, one image a call. Each way searches, measures its "
        "winner and corrects its budget until the measured time is half (within 3 %), four "
        "searches at most. `latency` has the time as its budget, `macs` the multiply-accumulates, "
        "`macs-8` those and widths in multiples of 8. `fresh` is accuracy on images that chose "
        "nothing, before fine-tuning; tuned is after one epoch.\n\n"
        f"{table(summary)}\n"
    )
