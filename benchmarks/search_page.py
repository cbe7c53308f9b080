"""What the benchmarks' page says of `bench-search` and of AGMC's ablation."""

from benchmarks import agmc_ablation, search_plots, search_report
from benchmarks.cells import Cells

SEARCHERS = """## All searchers

All get the same evaluations, the same 1,000 search images and one recipe (reconstruction, minus
the divergence from the uncut network); `eagleeye` and `metapruning` score by batch-norm
recalibration, as their methods do. Profile, screening, racing and recalibration count as
evaluations for whoever uses them. Each has [a page of its own](searchers/README.md).

- `fresh`: accuracy in percent of each seed's winner on 4,000 images that chose nothing, under the
  common recipe; mean over seeds, and standard deviation. **This is the figure that counts.**
- `against random`: the difference in points with its standard error; under two of them is noise.
- `on the 1,000`: the same winners on the images that chose them.
- `evaluations to 99 %`: of the final best accuracy.
- `auto is there after`: so many evaluations `auto` has a policy that scores as this searcher's
  winners do in the mean, on the 1,000 and by the common recipe; empty where a seed of it never has.
- `searcher CPU s`: in ask and tell alone; `share` is that against the time of the evaluations.
- `training CPU s`: of a PruningNet, before the search.
- `tuned, test`: the best seed's network after 2 epochs of fine-tuning, the same for all, on the
  test split.

In the pictures lines are means over seeds and bands reach from the lowest to the highest seed.
The best is the one of the best score by the recipe, so that its accuracy may fall. CPU seconds
hold everything that a run took, training included.
"""

ABLATION = """## What the graph brings to AGMC

ResNet-20 at 50 % of its MACs, all groups free, equal evaluations: `agmc` with its encoder trained,
left as it was initialised, and without the graph, which is the observation of `amc`. Accuracies
in percent; `fresh` and `sd` as above, `late` is the mean of the last fifth of the candidates, and
`share` the searcher's own CPU time against that of the evaluations.
"""


def searchers(cells: Cells) -> str | None:
    """Draw all pictures; return the section, or None where no cell is finished."""
    search_plots.draw_searchers(cells)
    summary = search_report.summarise(cells)
    parts = [SEARCHERS]
    for case in search_report.CASES:
        picture = search_plots.draw_case(cells, case)
        if picture is not None:
            parts.append(f"{search_report.case_table(case, summary)}\n")
            parts += [
                f"- `{name}` refused: {reason}\n"
                for name, reason in search_report.refusals_of(cells, case).items()
            ]
            title = search_report.TITLES[case]
            parts.append(f"![{title}: best accuracy so far](benchmarks/{picture})\n")
    return "\n".join(parts) if len(parts) > 1 else None


def ablation(cells: Cells) -> str | None:
    """Return the section about AGMC's encoder, or None where no cell is finished."""
    summary = agmc_ablation.summarise(agmc_ablation.finished(cells))
    rows = [
        f"| {encoder} | {summary[f'{encoder}.seeds']} | "
        + " | ".join(
            _percent(summary.get(f"{encoder}.{figure}"))
            for figure in (
                "fresh_accuracy", "fresh_accuracy.spread", "best_score", "late_mean_score",
            )
        )
        + f" | {100 * summary[f'{encoder}.overhead']:.0f} % |"
        for encoder in agmc_ablation.ENCODERS
        if f"{encoder}.seeds" in summary
    ]  # fmt: skip
    if not rows:
        return None
    verdicts = [
        f"- trained against {key.removeprefix('trained_against_')}: {value}"
        for key, value in summary.items()
        if key.startswith("trained_against_")
    ]
    table = [
        "| encoder | seeds | fresh | sd | best on the 1,000 | late | share |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        *verdicts,
    ]
    return "\n".join([ABLATION, *table]) + "\n"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
