"""Every searcher against every other, on equal terms.

All get the same evaluations (profile, racing and recalibration counted), the same 1,000 search
images and one recipe; searchers whose method has a recipe of its own keep that one. What counts
is measured under the common recipe on rows 1,000-4,999 of the search split, which chose nothing.
The test split is scored once for each fine-tuned network.

`--quick` runs a small version of every cell that needs no training: ten minutes.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from automl_agents.catalogue import complete_recipe, create_searcher, searcher_names
from automl_compress.compress.pruning_net import PruningNet
from automl_compress.core import (
    Budget,
    Effort,
    Policy,
    Recipe,
    SpaceOptions,
    StudySpec,
    Trial,
)
from automl_compress.core.errors import InvalidInput
from automl_compress.costs import compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.evaluate.problem import search_problem
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from automl_compress.train.config import TrainingConfig
from automl_compress.train.pruning_net import prepare_pruning_net
from automl_compress.train.training import train
from benchmarks import cifar, networks, search_report
from benchmarks.cells import Cells
from benchmarks.main import TimedSearcher

SEARCH_IMAGES = cifar.SEARCH_IMAGES
#: In bench-main it ranks as well as batch-norm recalibration, within the noise of ten policies, and
#: it forwards no images beside those that score.
RECIPE = Recipe(repair="reconstruction", signal="kl", images=SEARCH_IMAGES, backend="openvino")
#: In float32, as not every processor multiplies bfloat16, and all are to be tuned alike.
FINETUNE = TrainingConfig(epochs=2, batch_size=128, learning_rate=0.02)
# These hold several others, search bits, or set single weights and bits by hand.
OTHERS = ("portfolio", "haq", "micronet")
COMPARED = tuple(name for name in searcher_names() if name not in OTHERS)
LONGER = ("amc", "agmc", "random", "auto")
QUICK_EVALUATIONS = 20


@dataclass(frozen=True)
class Case:
    """A network under a budget."""

    name: str
    network: str
    ratio: float
    evaluations: int
    seeds: tuple[int, ...]
    without: tuple[str, ...] = ()


CASES = (
    Case("resnet-20-50", "resnet-20", 0.5, 200, (0, 1, 2)),
    Case("resnet-20-30", "resnet-20", 0.3, 200, (0, 1, 2)),
    Case("plain-20-50", "plain-20", 0.5, 100, (0, 1, 2)),
    Case("mobilenet-v2-50", "mobilenet-v2", 0.5, 60, (0,), without=("metapruning",)),
)


def recipe_of(name: str) -> Recipe:
    """Return the common recipe, or the one that the searcher's method brings."""
    own = complete_recipe(name, {})
    if own.get("weights") == "pruning_net":
        own["pruning_net"] = {"precision": FINETUNE.precision}
    return Recipe.from_json({**RECIPE.to_json(), **own}) if own else RECIPE


class Bench:
    """A network, its images and the evaluators that cells share."""

    def __init__(self, name: str) -> None:
        self.data: ImageData = replace(cifar.cifar(), augmentation=Augmentation(True, 4))
        module = cifar.resnet(20) if name == "resnet-20" else networks.trained(name)
        self.network: Network = trace(module, self.data.input_shape)
        self.space = compression_space(self.network.graph, SpaceOptions(skip=self._skip()))
        fresh = self.data.split("search").subset(SEARCH_IMAGES, 5000)
        train_split = self.data.split("train")
        self.fresh = PolicyEvaluator(self.network, fresh, train_split, replace(RECIPE, images=None))
        self._evaluators: dict[Recipe, PolicyEvaluator] = {}

    def _skip(self) -> tuple[str, ...]:
        """Residual stages stay whole, as in AMC's published networks."""
        return tuple(g.name for g in self.network.graph.groups if len(g.producers) > 1)

    def evaluator(self, recipe: Recipe, pruning_net: PruningNet | None = None) -> PolicyEvaluator:
        """Return the evaluator of a recipe, built once."""
        if recipe not in self._evaluators:
            splits = self.data.split("search"), self.data.split("train")
            self._evaluators[recipe] = PolicyEvaluator(self.network, *splits, recipe, pruning_net)
        return self._evaluators[recipe]

    def search(
        self, name: str, ratio: float, evaluations: float, seed: int
    ) -> dict[str, Any] | None:
        """Run one searcher; measure its winner on images that did not choose it."""
        recipe = recipe_of(name)
        effort = Effort(evaluations)
        study = StudySpec(name, Budget("macs", ratio), effort, recipe=recipe, seed=seed)
        trained = prepare_pruning_net(
            self.network, self.data, self.space, recipe, networks.FOLDER / "pruning-nets"
        )
        evaluator = self.evaluator(recipe, None if trained is None else trained.net)
        problem = search_problem(self.network, self.data, self.space, study)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            searcher = TimedSearcher(create_searcher(name, problem, {}))
        except InvalidInput as error:
            return {"searcher": name, "refused": str(error)}
        store = MemoryTrialStore()
        executor = InProcessExecutor(evaluator)
        summary = Study(searcher, executor, store, self.space, study.budget, effort).run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert summary.best is not None
        policy = evaluator.explicit(summary.best.policy)
        fresh, search = self.fresh.evaluate(policy), self.evaluator(RECIPE).evaluate(policy)
        return {
            "searcher": name,
            "ratio": ratio,
            "seed": seed,
            "effort": evaluations,
            "evaluations": summary.evaluations,
            "policy": policy.to_json(),
            "widths": list(policy.widths(self.network.graph)),
            "macs_ratio": fresh.cost.macs / self.space.full.macs,
            "fresh_accuracy": fresh.accuracy,
            "search_accuracy": search.accuracy,
            "search_kl": search.kl,
            "searcher_cpu_seconds": searcher.cpu_seconds,
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "training_cpu_seconds": 0.0 if trained is None else trained.cpu_seconds,
            "trials": [_row(trial) for trial in store.trials()],
        }

    def finetune(self, policy: dict[str, Any]) -> dict[str, Any]:
        """Fine-tune a winner from its repaired weights; score it once on the test split."""
        module = self.evaluator(RECIPE).repaired_network(Policy.from_json(policy))
        began = time.process_time()
        train(module, self.data, FINETUNE)
        seconds = time.process_time() - began
        return {
            **cifar.accuracies(module, self.data),
            "training_cpu_seconds": seconds,
        }


def _row(trial: Trial) -> list[Any]:
    """Score (null where it cannot win), evaluations, CPU seconds, KL, accuracy and images."""
    measured = trial.measurement
    if measured is None:
        return [None, 1.0, 0.0, None, None, trial.images]
    kl = None if measured.kl is None else round(measured.kl, 6)
    spent, cpu = round(measured.evaluations, 4), round(measured.cpu_seconds, 3)
    return [trial.score, spent, cpu, kl, round(measured.accuracy, 5), trial.images]


Work = Callable[[], dict[str, Any] | None]


class Plan:
    """Names every cell in the order of its worth."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._benches: dict[str, Bench] = {}

    def bench(self, network: str) -> Bench:
        """Load a network when the first cell needs it."""
        if network not in self._benches:
            self._benches[network] = Bench(network)
        return self._benches[network]

    def cells(self, is_quick: bool) -> Iterator[tuple[str, Work]]:
        """Yield key and work of every cell."""
        if is_quick:
            yield from self._searches(replace(CASES[0], evaluations=QUICK_EVALUATIONS), 0, "quick-")
            return
        for case in CASES[:2]:
            for seed in case.seeds:
                yield from self._searches(case, seed)
        for name in COMPARED:
            yield f"tuned-{name}", lambda name=name: self._tuned(name)
        for case in CASES[2:]:
            for seed in case.seeds:
                yield from self._searches(case, seed)
        longer = replace(CASES[0], evaluations=4 * CASES[0].evaluations)
        for seed in longer.seeds:
            yield from self._searches(longer, seed, "longer-", LONGER)

    def _searches(
        self, case: Case, seed: int, prefix: str = "", names: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, Work]]:
        for name in names or COMPARED:
            if name in case.without:
                continue
            arguments = name, case.ratio, case.evaluations, seed

            def work(case: Case = case, arguments: tuple[Any, ...] = arguments) -> Any:
                return self.bench(case.network).search(*arguments)

            yield f"{prefix}{case.name}-{name}-{seed}", work

    def _tuned(self, name: str) -> dict[str, Any] | None:
        case = CASES[0]
        found = [self._cells.read(f"{case.name}-{name}-{seed}") for seed in case.seeds]
        if any(cell is None for cell in found):
            return None
        runs = [cell for cell in found if cell is not None and "refused" not in cell]
        if not runs:
            return None
        best = min(runs, key=lambda cell: cell["search_kl"])
        return {"searcher": name, "seed": best["seed"]} | self.bench(case.network).finetune(
            best["policy"]
        )


def main() -> None:
    """Compute the missing cells, then summarise what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="summarise only; compute nothing")
    parser.add_argument("--quick", action="store_true", help="a small version of the first case")
    parser.add_argument("--only", default="", help="compute only cells whose key contains this")
    parser.add_argument(
        "--leave-out", action="append", default=[], help="no cells whose key contains this"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells("search")
    if not arguments.report:
        for key, work in Plan(cells).cells(arguments.quick):
            if arguments.only not in key or any(each in key for each in arguments.leave_out):
                continue
            if cells.read(key) is not None:
                continue
            began = time.perf_counter()
            try:
                done = cells.compute(key, lambda work=work: work() or {})
            except FileNotFoundError as missing:
                print(f"{key:36s} waits: {missing}", flush=True)
                continue
            seconds = f"{time.perf_counter() - began:.0f} s"
            state = "elsewhere or waiting" if done is None else seconds
            print(f"{key:36s} {state}", flush=True)
    print(search_report.table(search_report.write(cells)))


if __name__ == "__main__":
    main()
