"""Joint search of sparsity and bits against pruning and quantising one after the other.

ResNet-20 at about 10, 20 and 40 times smaller, counted in bytes of the packed file. Every method
gets the same evaluations on the same 1,000 search images; what counts is measured on rows
1,000-4,999 of the search split, which chose nothing, and, after two epochs of
quantisation-aware training, once on the test split. The uncut network is tuned alike.

- joint: `auto` over channels, densities of single weights, and weight bits 2 to 8 of each layer
  (one bit has no zero, so it does not go with densities).
- channel-b: `auto` over channels, every layer at b bits.
- element-b: `auto` over densities of single weights, every layer at b bits.
- haq: bits alone, by DDPG. uniform-4: every layer at 4 bits, nothing pruned.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from automl_agents.catalogue import create_searcher
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    Policy,
    Recipe,
    SpaceOptions,
    StudySpec,
)
from automl_compress.core.errors import BudgetUnreachable
from automl_compress.costs import AnalyticCosts, compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.confirm import Confirmer
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.evaluate.problem import search_problem
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from automl_compress.train.accuracy import evaluate_accuracy
from benchmarks import cifar
from benchmarks.bits_report import write
from benchmarks.cells import Cells, run

SEARCH_IMAGES = 1000
RECIPE = Recipe(repair="reconstruction", signal="kl", images=SEARCH_IMAGES)
RATIOS = {"10x": 0.1, "20x": 0.05, "40x": 0.025}
SEEDS = (0, 1, 2)
EVALUATIONS = 100
TUNED_EPOCHS = 2
BITS = (1, 2, 3, 4, 5, 6, 7, 8)
EDGE_BITS = 8  # of the first and the last layer, for every method

#: Searcher and space of each method.
METHODS: dict[str, tuple[str, SpaceOptions]] = {
    "joint": ("auto", SpaceOptions(schemes=("channel", "element"), weight_bits=BITS[1:])),
    **{
        f"{scheme}-{bits}": ("auto", SpaceOptions(schemes=(scheme,), weight_bits=(bits,)))
        for scheme in ("channel", "element")
        for bits in (8, 4, 2)
    },
    "haq": ("haq", SpaceOptions(schemes=(), weight_bits=BITS)),
    "uniform-4": ("uniform", SpaceOptions(schemes=(), weight_bits=(4,))),
}


class Bench:
    """The network, its images, and the evaluators that cells share."""

    def __init__(self) -> None:
        self.data: ImageData = replace(cifar.cifar(), augmentation=Augmentation(True, 4))
        self.network: Network = trace(cifar.resnet(20), self.data.input_shape)
        self.uncut_bytes = AnalyticCosts(self.network.graph).full.size_bytes
        train = self.data.split("train")
        fresh = self.data.split("search").subset(SEARCH_IMAGES, 5000)
        self.evaluator = PolicyEvaluator(self.network, self.data.split("search"), train, RECIPE)
        self.fresh = PolicyEvaluator(self.network, fresh, train, replace(RECIPE, images=None))

    def study(self, method: str, ratio: float, seed: int) -> StudySpec:
        """Return the search of one cell."""
        searcher, options = METHODS[method]
        stages = tuple(g.name for g in self.network.graph.groups if len(g.producers) > 1)
        return StudySpec(
            searcher,
            Budget("size_bytes", ratio),
            Effort(EVALUATIONS),
            space=replace(options, skip=(), fix=tuple((name, 0.0) for name in stages)),
            recipe=RECIPE,
            confirmation=Confirmation(1, TUNED_EPOCHS),
            seed=seed,
        )

    def search(self, method: str, ratio: float, seed: int) -> dict[str, Any]:
        """Search; measure the winner on images that did not choose it."""
        study = self.study(method, ratio, seed)
        space = compression_space(self.network.graph, study.space)
        problem = search_problem(self.network, self.data, space, study)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            searcher = create_searcher(study.searcher, problem, {})
        except BudgetUnreachable as error:
            return {"method": method, "ratio": ratio, "seed": seed, "unreachable": str(error)}
        executor, store = InProcessExecutor(self.evaluator), MemoryTrialStore()
        summary = Study(searcher, executor, store, space, study.budget, study.effort).run()
        assert summary.best is not None
        policy = self.evaluator.explicit(summary.best.policy)
        fresh, search = self.fresh.evaluate(policy), self.evaluator.evaluate(policy)
        return {
            "method": method,
            "ratio": ratio,
            "seed": seed,
            "evaluations": summary.evaluations,
            "policy": policy.to_json(),
            "bytes_ratio": fresh.cost.size_bytes / space.full.size_bytes,
            "fresh_accuracy": fresh.accuracy,
            "search_accuracy": search.accuracy,
            "search_kl": search.kl,
            "cpu_seconds": time.process_time() - cpu,
            "wall_seconds": time.perf_counter() - wall,
        }

    def tuned(self, method: str, ratio: float, cell: dict[str, Any]) -> dict[str, Any]:
        """Tune a winner quantisation-aware; score it once on the test split."""
        study = self.study(method, ratio, cell["seed"])
        confirmer = Confirmer(self.network, self.data, study)
        network = confirmer.compressed(Policy.from_json(cell["policy"]))
        assert network.packed is not None
        correct, total = evaluate_accuracy(network.module, self.data.split("test"))
        return {
            "method": method,
            "ratio": ratio,
            "seed": cell["seed"],
            "test_accuracy": correct / total,
            "packed_bytes": len(network.packed),
            "smaller": self.uncut_bytes / len(network.packed),
        }

    def baseline(self) -> dict[str, Any]:
        """Tune the uncut network alike."""
        study = self.study("joint", RATIOS["10x"], 0)
        found = Confirmer(self.network, self.data, study).baseline()
        return {"method": "uncut", "test_accuracy": found.accuracy}


class Plan:
    """Names every cell in the order of its worth."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    @cached_property
    def bench(self) -> Bench:
        """Load everything when the first cell needs it."""
        return Bench()

    def __iter__(self) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Yield each cell's key and what computes it."""
        for seed in SEEDS:
            for size, ratio in RATIOS.items():
                for method in METHODS:
                    if size == "10x" or method not in ("haq", "uniform-4"):
                        yield (
                            f"{size}-{method}-{seed}",
                            lambda m=method, r=ratio, s=seed: self.bench.search(m, r, s),
                        )
        yield "tuned-uncut", lambda: self.bench.baseline()
        for size, ratio in RATIOS.items():
            for method in METHODS:
                seeds = SEEDS if method == "joint" else (None,)
                for seed in seeds:
                    name = f"tuned-{size}-{method}" + ("" if seed is None else f"-{seed}")
                    yield name, partial(self._tuned, size, ratio, method, seed)

    def _tuned(self, size: str, ratio: float, method: str, seed: int | None) -> dict[str, Any]:
        """Tune one seed's winner, or that of the best seed by its score; {} while cells miss."""
        found = [self._cells.read(f"{size}-{method}-{each}") for each in SEEDS]
        known = [cell for cell in found if cell is not None and "policy" in cell]
        if any(cell is None for cell in found) or not known:
            return {}
        best = min(known, key=lambda cell: cell["search_kl"])
        chosen = best if seed is None else next(cell for cell in known if cell["seed"] == seed)
        return self.bench.tuned(method, ratio, chosen)


if __name__ == "__main__":
    run("bits", __doc__ or "", Plan, write)
