"""ResNet-20 on CIFAR-10 (JPEG q75) under a MACs budget: AMC against what keeps it honest.

Candidates are scored on rows 0-999 of the search split. What counts is measured on rows
1,000-4,999, which chose nothing, before and after fine-tuning; the test split is scored once
for each fine-tuned network. Searched are the inner channels of the nine blocks, as in AMC's
published ResNets; the residual stages stay whole.
"""

import argparse
import copy
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from automl_agents.catalogue import create_searcher
from automl_compress.compress.candidate import cut_network
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import (
    Budget,
    Effort,
    Measurement,
    Policy,
    Recipe,
    Searcher,
    SearchProblem,
    Snapshot,
    SpaceOptions,
    Suggestion,
    Trial,
    TrialState,
)
from automl_compress.costs import compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.networks.architectures import build_network
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from automl_compress.train.config import TrainingConfig
from automl_compress.train.training import train
from benchmarks import cifar, main_report
from benchmarks.cells import Cells

RATIOS, SEEDS, EVALUATIONS = (0.5, 0.3), (0, 1, 2), 300
SEARCH_IMAGES, SPEARMAN_POLICIES = cifar.SEARCH_IMAGES, 10
FINETUNE_EPOCHS, SCRATCH_EPOCHS = 3, 12
SEARCHED = (("uniform", (0,)), ("random", SEEDS), ("amc", SEEDS), ("sb3-ddpg", (0,)))
RECIPE = Recipe(repair="reconstruction", signal="accuracy", images=SEARCH_IMAGES)


class TimedSearcher:
    """A searcher that notes the CPU time of its asks and tells."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self.cpu_seconds = 0.0

    def _timed(self, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        try:
            return work()
        finally:
            self.cpu_seconds += time.process_time() - began

    def ask(self) -> Suggestion:
        """Ask, timed."""
        return self._timed(self._searcher.ask)

    def tell(self, trial: Trial) -> None:
        """Tell, timed."""
        self._timed(lambda: self._searcher.tell(trial))

    def snapshot(self) -> Snapshot:
        """Pass on."""
        return self._searcher.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Pass on."""
        self._searcher.restore(snapshot)


class Bench:
    """Everything that the cells share, made when the first one needs it."""

    def __init__(self) -> None:
        self.data: ImageData = replace(cifar.cifar(), augmentation=Augmentation(True, 4))
        self.network: Network = trace(cifar.resnet(20), self.data.input_shape)
        stages = tuple(g.name for g in self.network.graph.groups if len(g.producers) > 1)
        self.space = compression_space(self.network.graph, SpaceOptions(skip=stages))
        self.evaluator = self._evaluator(RECIPE)
        fresh = self.data.split("search").subset(SEARCH_IMAGES, 5000)
        self.fresh = PolicyEvaluator(
            self.network, fresh, self.data.split("train"), replace(RECIPE, images=None)
        )

    def _evaluator(self, recipe: Recipe) -> PolicyEvaluator:
        splits = self.data.split("search"), self.data.split("train")
        return PolicyEvaluator(self.network, *splits, recipe)

    def policy(self, widths: list[int]) -> Policy:
        """Return the policy of these widths, with explicit channels."""
        return self.evaluator.explicit(self.space.policy(widths))

    def uncut(self) -> dict[str, Any]:
        """Measure the uncut network as it came, on all rows of the search split."""
        policy = self.space.policy(self.network.graph.full_widths)
        return {
            "search_accuracy": self.evaluator.evaluate(policy).accuracy,
            "fresh_accuracy": self.fresh.evaluate(policy).accuracy,
        }

    def search(self, name: str, ratio: float, seed: int) -> dict[str, Any]:
        """Run one searcher; measure its winner on images that did not choose it."""
        wall, cpu = time.perf_counter(), time.process_time()
        run = self._learn if name == "sb3-ddpg" else self._study
        trials, searcher_cpu = run(name, ratio, seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        # Probes of a profile, which may be over the budget, have no score and cannot win.
        scored = [trial for trial in trials if trial["score"] is not None]
        best = max(scored, key=lambda trial: trial["score"])
        evaluations = sum(trial["evaluations"] for trial in trials)
        found = self.fresh.evaluate(self.space.policy(best["widths"]))
        return {
            "searcher": name,
            "ratio": ratio,
            "seed": seed,
            "evaluations": evaluations,
            "best": best,
            "fresh_accuracy": found.accuracy,
            "cost": found.cost.to_json(),
            "wall_seconds_per_episode": wall / evaluations,
            "cpu_seconds_per_episode": cpu / evaluations,
            "forward_cpu_share": sum(trial["forward_cpu"] for trial in trials) / cpu,
            "searcher_cpu_seconds": searcher_cpu,
            "trials": trials,
        }

    def _study(self, name: str, ratio: float, seed: int) -> tuple[list[dict[str, Any]], float]:
        budget = Budget("macs", ratio)
        effort = Effort(1 if name == "uniform" else EVALUATIONS)
        problem = SearchProblem(self.space, budget, effort, seed)
        searcher = TimedSearcher(create_searcher(name, problem, {}))
        store = MemoryTrialStore()
        executor = InProcessExecutor(self.evaluator)
        Study(searcher, executor, store, self.space, budget, effort).run()
        assert all(trial.state is TrialState.COMPLETE for trial in store.trials())
        trials = [
            self._row(trial.policy, trial.measurement, trial.score) for trial in store.trials()
        ]
        return trials, searcher.cpu_seconds

    def _learn(self, name: str, ratio: float, seed: int) -> tuple[list[dict[str, Any]], float]:
        """Stock SB3 DDPG with its defaults, and the noise of its documentation's example."""
        from stable_baselines3 import DDPG
        from stable_baselines3.common.noise import NormalActionNoise

        from automl_envs.environment import CompressionEnv

        rows: list[dict[str, Any]] = []
        bench = self

        class Recording:
            def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
                measurement = bench.evaluator.evaluate(policy, images)
                rows.append(bench._row(policy, measurement, measurement.score))
                return measurement

        environment = CompressionEnv(self.space, Budget("macs", ratio), Recording())
        noise = NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))
        agent = DDPG("MlpPolicy", environment, action_noise=noise, seed=seed)
        began = time.process_time()
        agent.learn(EVALUATIONS * len(environment.walk.order))
        evaluating = sum(row["cpu"] for row in rows)
        return rows[:EVALUATIONS], time.process_time() - began - evaluating

    def _row(
        self, policy: Policy, measurement: Measurement | None, score: float | None
    ) -> dict[str, Any]:
        assert measurement is not None
        return {
            "widths": list(policy.widths(self.network.graph)),
            "score": score,
            "evaluations": measurement.evaluations,
            "cpu": measurement.cpu_seconds,
            "forward_cpu": measurement.forward_cpu_seconds,
        }

    def tuned(
        self, module: nn.Module, epochs: int, learning_rate: float, seed: int
    ) -> dict[str, Any]:
        """Train in place; measure on the fresh rows and, once, on the test split."""
        config = TrainingConfig(
            epochs=epochs,
            batch_size=128,
            learning_rate=learning_rate,
            seed=seed,
            precision=cifar.PRECISION,
        )
        began = time.process_time()
        train(module, self.data, config)
        seconds = time.process_time() - began
        return {
            **cifar.accuracies(module, self.data),
            "epochs": epochs,
            "learning_rate": learning_rate,
            "precision": cifar.PRECISION,
            "seed": seed,
            "training_cpu_seconds": seconds,
        }

    def finetune(self, widths: list[int] | None, seed: int) -> dict[str, Any]:
        """Fine-tune a structure from its repaired weights; None is the uncut network."""
        if widths is None:
            module = copy.deepcopy(self.network.module)
        else:
            module = self.evaluator.repaired_network(self.space.policy(widths))
        return self.tuned(module, FINETUNE_EPOCHS, 0.02, seed)

    def scratch(self, widths: list[int], seed: int) -> dict[str, Any]:
        """Train a structure from random weights."""
        torch.manual_seed(seed)
        fresh = trace(build_network("resnet-20"), self.data.input_shape)
        kept = ChannelSelector(fresh).kept(self.space.policy(widths))
        return self.tuned(cut_network(fresh, kept), SCRATCH_EPOCHS, 0.1, seed)

    def proxies(self, widths: list[int]) -> dict[str, float]:
        """Score a structure under each repair, accuracy and minus cross-entropy."""
        scores: dict[str, float] = {}
        for repair in ("none", "reconstruction", "recalibration"):
            found = self._evaluator(replace(RECIPE, repair=repair)).evaluate(
                self.space.policy(widths)
            )
            assert found.cross_entropy is not None
            assert found.kl is not None
            scores[f"{repair}.accuracy"] = found.accuracy
            scores[f"{repair}.cross_entropy"] = -found.cross_entropy
            scores[f"{repair}.kl"] = -found.kl
        return scores


def spread(cells: Cells) -> list[list[int]] | None:
    """Pick policies of the random searches at 50 %, evenly spread over score."""
    trials: list[dict[str, Any]] = []
    for seed in SEEDS:
        cell = cells.read(f"search-random-50-{seed}")
        if cell is None:
            return None
        trials += cell["trials"]
    trials.sort(key=lambda trial: (trial["score"], trial["widths"]))
    places = np.linspace(0, len(trials) - 1, SPEARMAN_POLICIES).round().astype(int)
    return [trials[place]["widths"] for place in places]


Work = tuple[str, Callable[[Bench], dict[str, Any] | None]]


def plan(cells: Cells) -> Iterator[Work]:
    """Name every cell in the order of its worth; those whose inputs are missing come later."""
    yield "uncut", lambda bench: bench.uncut()
    searches = [(name, ratio, s) for ratio in RATIOS for name, seeds in SEARCHED for s in seeds]
    for name, ratio, seed in searches:
        key = f"search-{name}-{ratio * 100:.0f}-{seed}"
        yield key, lambda bench, a=(name, ratio, seed): bench.search(*a)
    for seed in SEEDS[:2]:
        yield _baseline(seed)
    ordered = sorted(searches, key=lambda each: (each[2], -each[1]))
    for name, ratio, seed in ordered:
        yield _tuning(cells, "finetune", name, ratio, seed)
    for place in range(SPEARMAN_POLICIES):
        yield f"spearman-{place}", lambda bench, p=place: _spearman(bench, cells, p)
    for ratio, name in itertools.product(RATIOS, ("amc", "uniform")):
        yield _tuning(cells, "scratch", name, ratio, 0)
    yield _baseline(2)
    for seed, ratio in itertools.product(SEEDS[1:], RATIOS):
        yield _tuning(cells, "finetune", "uniform", ratio, seed, search_seed=0)


def _baseline(seed: int) -> Work:
    return f"finetune-baseline-{seed}", lambda bench: bench.finetune(None, seed)


def _tuning(
    cells: Cells, kind: str, name: str, ratio: float, seed: int, search_seed: int | None = None
) -> Work:
    percent = f"{ratio * 100:.0f}"
    source = f"search-{name}-{percent}-{seed if search_seed is None else search_seed}"

    def work(bench: Bench) -> dict[str, Any] | None:
        cell = cells.read(source)
        if cell is None:
            return None
        widths = cell["best"]["widths"]
        return bench.finetune(widths, seed) if kind == "finetune" else bench.scratch(widths, seed)

    return f"{kind}-{name}-{percent}-{seed}", work


def _spearman(bench: Bench, cells: Cells, place: int) -> dict[str, Any] | None:
    policies = spread(cells)
    if policies is None:
        return None
    widths = policies[place]
    return {"widths": widths, **bench.proxies(widths), "tuned": bench.finetune(widths, 0)}


def main() -> None:
    """Compute the missing cells, then summarise what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="summarise only; compute nothing")
    parser.add_argument("--only", default="", help="compute only cells whose key begins so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells("main")
    if not arguments.report:
        bench = Bench()
        for key, work in plan(cells):
            if not key.startswith(arguments.only) or cells.read(key) is not None:
                continue
            began = time.perf_counter()
            done = cells.compute(key, lambda work=work: work(bench) or {})
            state = "elsewhere" if done is None else f"{time.perf_counter() - began:.0f} s"
            print(f"{key:32s} {state}", flush=True)
            main_report.write(cells)
    print(main_report.table(main_report.write(cells)))


if __name__ == "__main__":
    main()
