"""Curves of `bench-search`: the best accuracy so far, of all searchers and of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automl_agents.names import SEARCHER_NAMES
from benchmarks import pictures
from benchmarks.cells import Cells
from benchmarks.search_report import TITLES, best_so_far, refusals_of, runs_of

Effort = Literal["evaluations", "CPU seconds"]

EFFORTS: tuple[Effort, Effort] = ("evaluations", "CPU seconds")
CASE = "resnet-20-50"  # of the pictures of single searchers
POINTS = 200  # of a curve
EARLY = POINTS // 20  # what lies below the curves there is cut off: it squeezes all that matters
FIRST_SECOND = 1.0  # of CPU time that is shown
HIGHLIGHTED = {
    "auto": "tab:red",
    "random": "black",
    "dp": "tab:blue",
    "eagleeye": "tab:green",
}
COMPARED = {"random": "--", "auto": "-"}  # grey in the pictures of single searchers
OTHERS = ("tab:orange", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan", "tab:gray")
DASHES = ("-", "--", ":")
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


@dataclass(frozen=True)
class Curve:
    """The best accuracy so far of several runs, in percent, at common points of an effort."""

    effort: np.ndarray
    mean: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


def curve(runs: Sequence[dict[str, Any]], effort: Effort) -> Curve:
    """Lay the runs of one searcher over each other, from where all have a result to an end."""
    steps = [_steps(run, effort) for run in runs]
    first = max(float(spent[0]) for spent, _ in steps)
    last = max(min(float(spent[-1]) for spent, _ in steps), first)
    points = np.linspace(first, last, POINTS)
    rows = [accuracy[np.searchsorted(spent, points, side="right") - 1] for spent, accuracy in steps]
    stacked = 100 * np.stack(rows)  # (runs, points)
    return Curve(points, stacked.mean(axis=0), stacked.min(axis=0), stacked.max(axis=0))


def _steps(run: dict[str, Any], effort: Effort) -> tuple[np.ndarray, np.ndarray]:
    """Return when a run found each new best, and what that was; the last stays to the end."""
    steps = np.array(best_so_far(run))
    if effort == "evaluations":
        spent, whole = steps[:, 0], sum(row[1] for row in run["trials"])
    else:
        # The run's time beyond its evaluations is the searcher's; it is spread in proportion.
        evaluating = max(sum(row[2] for row in run["trials"]), 1e-9)
        spent = steps[:, 1] / evaluating * run["cpu_seconds"] + run["training_cpu_seconds"]
        whole = run["cpu_seconds"] + run["training_cpu_seconds"]
    return np.append(spent, max(whole, spent[-1])), np.append(steps[:, 2], steps[-1, 2])


def draw_case(cells: Cells, case: str) -> str | None:
    """Draw all searchers of a case against both efforts; None where none is finished."""
    runs = runs_of(cells, case)
    if not runs:
        return None
    figure = Figure(figsize=(11, 4.6))
    left, right = figure.subplots(1, 2, sharey=True)
    names = [name for name in SEARCHER_NAMES if name in runs]
    for axes, effort in zip((left, right), EFFORTS, strict=True):
        curves = {name: curve(found, effort) for name, found in runs.items()}
        for name in sorted(names, key=lambda name: name in HIGHLIGHTED):  # these on top
            _add(axes, name, curves[name], len(runs[name]))
        axes.set_xlabel(effort)
        axes.grid(alpha=0.3)
        if effort == "evaluations":
            axes.set_ylim(bottom=_early(curves.values()))
    right.set_xscale("log")
    right.set_xlim(left=FIRST_SECOND)
    left.set_ylabel("best accuracy so far, 1,000 search images, %")
    figure.suptitle(TITLES[case])
    order = {name: place for place, name in enumerate(names)}
    handles, labels = left.get_legend_handles_labels()
    ranked = sorted(zip(handles, labels, strict=True), key=lambda pair: order[pair[1].split()[0]])
    figure.legend(*zip(*ranked, strict=True), loc="center left", bbox_to_anchor=(0.92, 0.5))
    return pictures.save(figure, f"case-{case}")


def _early(curves: Iterable[Curve]) -> float:
    """Return where the vertical axis begins."""
    return min(float(each.mean[EARLY]) for each in curves) - 1.0


def _add(axes: Axes, name: str, curve: Curve, seeds: int) -> None:
    label = name if seeds > 1 else f"{name} (1 seed)"
    if name in HIGHLIGHTED:
        _draw(axes, curve, 0.08, color=HIGHLIGHTED[name], linewidth=2.2, label=label)
        return
    place = [each for each in SEARCHER_NAMES if each not in HIGHLIGHTED].index(name)
    colour, dash = OTHERS[place % len(OTHERS)], DASHES[place // len(OTHERS)]
    _draw(axes, curve, 0.0, color=colour, linewidth=1.0, linestyle=dash, label=label)


def _draw(axes: Axes, curve: Curve, opacity: float, **style: Any) -> None:
    """Draw the mean, and the range of this opacity."""
    axes.step(curve.effort, curve.mean, where="post", **style)
    ends = curve.lowest, curve.highest
    if opacity:
        axes.fill_between(curve.effort, *ends, color=style["color"], alpha=opacity, step="post")


def draw_searchers(cells: Cells) -> None:
    """Draw the picture of every searcher's page; where nothing is measured yet it says so."""
    for name in SEARCHER_NAMES:
        if name != "micronet":  # has one policy, and so no curve
            _draw_searcher(cells, name)


def _draw_searcher(cells: Cells, name: str) -> None:
    runs, refusals = runs_of(cells, CASE), refusals_of(cells, CASE)
    figure = Figure(figsize=(6.5, 3.6))
    axes = figure.subplots()
    curves = {each: curve(found, "evaluations") for each, found in runs.items()}
    shown = {each: curves[each] for each in (*COMPARED, name) if each in curves}
    for other in COMPARED:
        if other in shown and other != name:
            _draw(axes, shown[other], 0.0, color="0.6", linestyle=COMPARED[other], label=other)
    if name in shown:
        seeds = len(runs[name])
        label = f"{name}, {seeds} seed{'s' if seeds > 1 else ''}"
        _draw(axes, shown[name], 0.15, color="tab:red", linewidth=2, label=label)
    else:
        said = f"refused: {refusals[name]}" if name in refusals else "no finished run yet"
        box = {"facecolor": "white", "edgecolor": "none"}
        axes.text(0.5, 0.5, fill(said, 60), transform=axes.transAxes, bbox=box, **CENTRED)
    if shown:
        axes.legend(loc="lower right")
        axes.set_ylim(bottom=_early(shown.values()))
    axes.set_xlabel("evaluations")
    axes.set_ylabel("best accuracy so far, %")
    axes.set_title(f"{name}: {TITLES[CASE]}", fontsize="medium")
    axes.grid(alpha=0.3)
    pictures.save(figure, f"search-{name}")
