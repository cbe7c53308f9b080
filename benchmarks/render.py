"""Render `benchmarks/results/*.json` into docs/benchmarks.md and its plots."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import (
    agmc_ablation,
    bits_report,
    cut_speed,
    deep_compression_report,
    latency_model,
    latency_report,
    main_report,
    micronet_report,
    pictures,
    records,
    search_page,
)
from benchmarks.cells import Cells

DOCS = Path(__file__).parents[1] / "docs"
EVALUATIONS = 300  # of bench-main
OPERATION = {
    "faults": "Faults",
    "executors": "A local pool and a Ray cluster",
    "load": "Load on one API process",
    "soak": "Hours of random kills",
}
STYLES = {"random": ("tab:gray", "--"), "amc": ("tab:blue", "-"), "sb3-ddpg": ("tab:orange", ":")}


def main() -> None:
    """Write the page and the plots from the figures that are there."""
    parts = [
        "# Benchmarks\n\nWritten by `python -m benchmarks.render` from `benchmarks/results/`. "
        "Data: CIFAR-10 (JPEG q75), never to be compared with figures on plain CIFAR-10.\n"
    ]
    evaluation = records.load("evaluation")
    if evaluation["summary"]:
        parts.append(_evaluation(evaluation))
    comparison = records.load("main")
    if comparison["summary"]:
        parts.append(_comparison(comparison))
    rounding = records.load("rounding")
    if rounding["summary"]:
        parts.append(_rounding(rounding))
    parts += _sections_of_cells()
    for name, title in OPERATION.items():
        record = records.load(name)
        if record["summary"]:
            table = _plain_table(record["summary"])
            parts.append(f"## {title}\n\n{table}\n{_origin(record)}\n")
    pages = records.load("dashboard")
    if pages["summary"]:
        parts.append(_dashboard(pages))
    (DOCS / "benchmarks.md").write_text("\n".join(parts))
    print(f"wrote {DOCS / 'benchmarks.md'}")


def _sections_of_cells() -> list[str]:
    """Return what needs no summary: it is made from whatever cells are finished."""
    sections = {
        "search": search_page.searchers(Cells("search")),
        agmc_ablation.NAME: search_page.ablation(Cells(agmc_ablation.NAME)),
        "bits": bits_report.section(Cells("bits")),
        deep_compression_report.NAME: deep_compression_report.section(
            Cells(deep_compression_report.NAME)
        ),
        micronet_report.NAME: micronet_report.section(Cells(micronet_report.NAME)),
        latency_report.NAME: latency_report.section(Cells(latency_report.NAME)),
        cut_speed.NAME: cut_speed.section(Cells(cut_speed.NAME)),
        latency_model.NAME: latency_model.section(Cells(latency_model.NAME)),
    }
    parts: list[str] = []
    for name, section in sections.items():
        if section is not None:
            record = records.load(name)
            parts.append(section + (f"\n{_origin(record)}\n" if "host" in record else ""))
    return parts


def _origin(content: dict[str, Any]) -> str:
    host = content["host"]
    return (
        f"`{content['command']}`, {content['date'][:10]}, commit {content['commit']}, "
        f"{host['cpu']}, {host['cores']} cores, torch {host['torch']}, seeds {content['seeds']}."
    )


def _plain_table(summary: dict[str, Any]) -> str:
    rows = "\n".join(f"| `{key}` | {value} |" for key, value in summary.items())
    return f"| figure | value |\n| --- | --- |\n{rows}\n"


def _evaluation(content: dict[str, Any]) -> str:
    return (
        "## Speed of one evaluation\n\nAgainst the plain published way (deep copy, zero masks, "
        "unfused NCHW forward in batches of 50, `lstsq` on all rows of each layer): the same 10 "
        "policies at each ratio, the same 2,000 images, in turns, one thread, process CPU time; "
        "the smaller of the ratios of medians and of minima. `agreement` is the share of equal "
        f"predictions, the worst policy's.\n\n{_plain_table(content['summary'])}\n"
        f"{_origin(content)}\n"
    )


def _rounding(content: dict[str, Any]) -> str:
    return (
        "## Quantised candidates\n\nThe uncut network with weights and layer inputs at random bits "
        "against itself as float, in turns, one thread, process CPU time; the larger of the ratios "
        "of medians and of minima. `switch_ms` is a switch of all layers to other bits, their "
        f"weights being tabulated.\n\n{_plain_table(content['summary'])}\n{_origin(content)}\n"
    )


def _dashboard(content: dict[str, Any]) -> str:
    return (
        "## The job page\n\nA real service and Chromium, on a machine that also searched and "
        "tested meanwhile: `load` is how many processes wanted its cores. Trials come at 20 a "
        "second, as far as the machine stores so many, while the page is open; then it is opened "
        "with nothing cached. Figures with `cpu` are processor time of the page's main thread; "
        "the heap is read after a collection, the least of the first and of the last samples; "
        f"`front_ms` is when the chart stands.\n\n{_plain_table(content['summary'])}\n"
        f"{_origin(content)}\n"
    )


def _comparison(content: dict[str, Any]) -> str:
    plots = [_curves(percent) for percent in (50, 30)]
    pictures = "\n".join(
        f"![Best score so far, {plot}](benchmarks/{plot})" for plot in plots if plot
    )
    return (
        "## Searchers on ResNet-20\n\nEvery searcher but `uniform` gets 300 evaluations on the "
        "same 1,000 images, with reconstruction. Searched are the inner channels of the nine "
        "blocks; the residual stages stay whole. `fresh` are 4,000 images that chose nothing; "
        "fine-tuning is 3 epochs, the same for all and for the uncut network.\n\n"
        f"{main_report.table(content['summary'])}\n\n{pictures}\n\n{_origin(content)}\n"
    )


def _best_so_far(trials: list[dict[str, Any]]) -> np.ndarray:
    """Return the best score in percent after each whole evaluation; NaN before the first score."""
    spent = np.cumsum([trial.get("evaluations", 1.0) for trial in trials])
    scores = [np.nan if trial["score"] is None else 100 * trial["score"] for trial in trials]
    best = np.fmax.accumulate(scores)
    places = np.searchsorted(spent, np.arange(1, EVALUATIONS + 1) - 1e-6)
    return best[np.minimum(places, len(best) - 1)]


def _curves(percent: int) -> str | None:
    """Plot the best score so far, mean and range over seeds."""
    cells = Cells("main")
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    is_empty = True
    for name, (colour, line) in STYLES.items():
        curves = [
            _best_so_far(cell["trials"])
            for path in sorted(cells.folder.glob(f"search-{name}-{percent}-*.json"))
            if (cell := cells.read(path.stem)) is not None
        ]
        if not curves:
            continue
        is_empty = False
        stacked = np.stack(curves)
        steps = np.arange(1, stacked.shape[1] + 1)
        label = f"{name}, {len(curves)} seeds" if len(curves) > 1 else f"{name}, 1 seed"
        axes.plot(steps, stacked.mean(0), color=colour, linestyle=line, label=label)
        axes.fill_between(steps, stacked.min(0), stacked.max(0), color=colour, alpha=0.15)
    if is_empty:
        return None
    axes.set_xlabel("evaluations")
    axes.set_ylabel("best accuracy on the 1,000 search images, %")
    axes.set_title(f"ResNet-20 at {percent} % of MACs kept")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return pictures.save(figure, f"main-{percent}")


if __name__ == "__main__":
    main()
