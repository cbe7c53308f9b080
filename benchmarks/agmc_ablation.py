"""What the graph brings to AGMC: trained encoder, frozen random encoder, no graph.

ResNet-20 on CIFAR-10 (JPEG q75) at 50 % of its MACs, residual stages included, equal
evaluations, three seeds. Without the graph it is AMC's corrected mode. Candidates are scored on
rows 0-999 of the search split; the figure that counts is the winner's accuracy on rows
1,000-4,999, which chose nothing.
"""

import argparse
import statistics
import time
from functools import partial
from typing import Any

import torch

from automl_agents.catalogue import create_searcher
from automl_compress.core import Budget, Effort, SearchProblem, SpaceOptions
from automl_compress.costs import compression_space
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from benchmarks.cells import Cells
from benchmarks.main import Bench, TimedSearcher
from benchmarks.records import save

NAME = "agmc-ablation"
ENCODERS = ("trained", "frozen_random", "none")
RATIO, SEEDS, EVALUATIONS = 0.5, (0, 1, 2), 200


class Ablation:
    """The images and the network of the main benchmark, with all groups free."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.space = compression_space(self.bench.network.graph, SpaceOptions())

    def search(self, encoder: str, seed: int, evaluations: int) -> dict[str, Any]:
        """Run one setting; measure its winner on images that did not choose it."""
        budget, effort = Budget("macs", RATIO), Effort(evaluations)
        problem = SearchProblem(self.space, budget, effort, seed)
        searcher = TimedSearcher(create_searcher("agmc", problem, {"encoder": encoder}))
        store, executor = MemoryTrialStore(), InProcessExecutor(self.bench.evaluator)
        cpu = time.process_time()
        Study(searcher, executor, store, self.space, budget, effort).run()
        cpu = time.process_time() - cpu
        scores = [trial.score for trial in store.trials() if trial.score is not None]
        best = max(store.trials(), key=lambda trial: trial.score or -1.0)
        measured = [trial.measurement for trial in store.trials() if trial.measurement]
        return {
            "encoder": encoder,
            "seed": seed,
            "evaluations": evaluations,
            "best_score": max(scores),
            "fresh_accuracy": self.bench.fresh.evaluate(best.policy).accuracy,
            "widths": list(best.policy.widths(self.space.graph)),
            "late_mean_score": statistics.fmean(scores[-len(scores) // 5 :]),
            "searcher_cpu_seconds": searcher.cpu_seconds,
            "evaluation_cpu_seconds": sum(each.cpu_seconds for each in measured),
            "cpu_seconds": cpu,
            "scores": scores,
        }


def finished(cells: Cells) -> dict[str, dict[str, Any]]:
    """Read the cells that there are, by key."""
    keys = [f"{encoder}-{seed}" for encoder in ENCODERS for seed in SEEDS]
    return {key: cell for key in keys if (cell := cells.read(key))}


def summarise(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return means and spreads, and which differences are noise."""
    summary: dict[str, Any] = {}
    fresh: dict[str, list[float]] = {}
    for encoder in ENCODERS:
        done = [cell for cell in cells.values() if cell["encoder"] == encoder]
        if not done:
            continue
        fresh[encoder] = [cell["fresh_accuracy"] for cell in done]
        summary[f"{encoder}.seeds"] = len(done)
        for figure in ("fresh_accuracy", "best_score", "late_mean_score"):
            values = [cell[figure] for cell in done]
            summary[f"{encoder}.{figure}"] = round(statistics.fmean(values), 4)
            if len(values) > 1:
                summary[f"{encoder}.{figure}.spread"] = round(statistics.stdev(values), 4)
        overhead = [cell["searcher_cpu_seconds"] / cell["evaluation_cpu_seconds"] for cell in done]
        summary[f"{encoder}.overhead"] = round(statistics.fmean(overhead), 3)
    ours = fresh.get("trained", [])
    for other in ENCODERS[1:]:
        if min(len(ours), len(fresh.get(other, []))) > 1:
            summary[f"trained_against_{other}"] = difference(ours, fresh[other])
    return summary


def difference(ours: list[float], theirs: list[float]) -> str:
    """Say how far two means lie apart; below two standard errors it is noise."""
    points = 100 * (statistics.fmean(ours) - statistics.fmean(theirs))
    variance = statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)
    error = 100 * variance**0.5
    verdict = "noise" if abs(points) < 2 * error else "a difference"
    return f"{points:+.1f} points, standard error {error:.1f}: {verdict}"


def compute_missing(cells: Cells) -> None:
    """Compute the cells, one seed of every setting after the other."""
    ablation: Ablation | None = None
    for seed in SEEDS:
        for encoder in ENCODERS:
            key = f"{encoder}-{seed}"
            if cells.read(key) is not None:
                continue
            ablation = ablation or Ablation()
            search = partial(ablation.search, encoder, seed, EVALUATIONS)
            began = time.perf_counter()
            done = cells.compute(key, search)
            state = "elsewhere" if done is None else f"{time.perf_counter() - began:.0f} s"
            print(f"{key:20} {state}", flush=True)


def main() -> None:
    """Compute the missing cells, then summarise what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="summarise only; compute nothing")
    parser.add_argument(
        "--quick", type=int, metavar="EVALUATIONS", help="so many, one seed, nothing stored"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quick:
        ablation = Ablation()
        done = {name: ablation.search(name, SEEDS[0], arguments.quick) for name in ENCODERS}
    else:
        cells = Cells(NAME)
        if not arguments.report:
            compute_missing(cells)
        done = finished(cells)
        save(NAME, summarise(done), done, list(SEEDS))
    for figure, value in summarise(done).items():
        print(f"{figure:40} {value}")


if __name__ == "__main__":
    main()
