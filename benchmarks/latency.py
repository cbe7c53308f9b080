"""Search under a latency budget against search under a MACs budget, at equal measured latency.

Networks shall run twice as fast as the uncut one in OpenVINO, one image a call. Each way searches,
measures the winner in turns with the uncut network, and corrects its budget until the measured
time is half (within 3 %), four searches at most; what it returns is the most accurate of its
winners that took no longer. `macs-8` keeps widths at multiples of 8, as who knows the engines does.
Candidates are scored on rows 0-999 of the search split; what counts is the accuracy on rows
1,000-4,999, which chose nothing, before fine-tuning and after one epoch. The test split is scored
once for each fine-tuned network.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from automl_agents.catalogue import create_searcher
from automl_compress.core import (
    Budget,
    CompressionSpace,
    Effort,
    Policy,
    Recipe,
    SpaceOptions,
    StudySpec,
)
from automl_compress.costs import LatencyTable, compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.evaluate.latency import LatencyPlan, measure_latency
from automl_compress.evaluate.latency_tables import measure_table
from automl_compress.evaluate.problem import search_problem
from automl_compress.export.onnx_template import OnnxTemplate
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from automl_compress.targets import Target
from automl_compress.train.config import TrainingConfig
from automl_compress.train.training import train
from benchmarks import cifar, latency_report, networks
from benchmarks.cells import Cells

SEARCHER, EVALUATIONS, SEARCH_IMAGES = "auto", 100, cifar.SEARCH_IMAGES
TARGET: Target = "cpu-openvino"
HALF, TOLERANCE, MOST_SEARCHES = 0.5, 0.03, 4
SECONDS = 4.0  # of each measurement; ten blocks
# Half of the time at batch 1 is less than half of the MACs: a call has a price of its own.
FIRST_RATIO = {"latency": 0.5, "macs": 0.2, "macs-8": 0.25}
# A call has a price, and small layers run below an engine's speed: time falls by about the root.
STEEPNESS = {"latency": 1, "macs": 2, "macs-8": 2}
ELSEWHERE: tuple[tuple[Target, int], ...] = (
    ("cpu-openvino", 32),
    ("cpu-onnxruntime", 1),
    ("cpu-onnxruntime", 32),
)
RECIPE = Recipe(repair="reconstruction", signal="kl", images=SEARCH_IMAGES, backend="openvino")
FINETUNE = TrainingConfig(epochs=1, batch_size=128, learning_rate=0.02, precision=cifar.PRECISION)


@dataclass
class Bench:
    """A network, its images, and what measures it."""

    name: str
    folder: Path
    cells: Cells

    def __post_init__(self) -> None:
        self.data: ImageData = replace(cifar.cifar(), augmentation=Augmentation(True, 4))
        is_resnet = self.name.startswith("resnet-")
        depth = int(self.name.removeprefix("resnet-")) if is_resnet else 0
        module = cifar.resnet(depth) if is_resnet else networks.trained(self.name)
        self.network: Network = trace(module, self.data.input_shape)
        self._template = OnnxTemplate(self.network)
        self._uncut = self.folder / f"{self.name}.onnx"
        self._uncut.write_bytes(self._template.bytes_of(module))

    @cached_property
    def table(self) -> LatencyTable:
        """Measured by the first cell that wants it, and taken from there by all others."""
        key = f"{self.name}-table"
        found = self.cells.compute(key, lambda: {"table": self._measured_table()})
        if found is None:
            raise RuntimeError(f"another process measures {key}; start again when it is done")
        return LatencyTable.from_json(found["table"])

    def _measured_table(self) -> dict[str, Any]:
        space = compression_space(self.network.graph, SpaceOptions())
        return measure_table(self.network, space, TARGET).to_json()

    @cached_property
    def evaluator(self) -> PolicyEvaluator:
        """Scores candidates, and predicts their latency."""
        splits = self.data.split("search"), self.data.split("train")
        return PolicyEvaluator(self.network, *splits, RECIPE, table=self.table)

    @cached_property
    def fresh(self) -> PolicyEvaluator:
        """Scores winners on images that chose nothing."""
        images = self.data.split("search").subset(SEARCH_IMAGES, 5000)
        recipe = replace(RECIPE, images=None)
        return PolicyEvaluator(self.network, images, self.data.split("train"), recipe)

    def space(self, way: str) -> CompressionSpace:
        """Return what a way searches; widths that save no time are out of the latency space."""
        options = SpaceOptions(round_to=8 if way == "macs-8" else 1)
        return compression_space(
            self.network.graph, options, self.table if way == "latency" else None
        )

    def search(self, way: str, ratio: float, seed: int) -> dict[str, Any]:
        """Search once; measure the winner in turns with the uncut network."""
        space, effort = self.space(way), Effort(EVALUATIONS)
        budget = Budget("latency_ns" if way == "latency" else "macs", ratio)
        target = TARGET if way == "latency" else None
        study = StudySpec(SEARCHER, budget, effort, recipe=RECIPE, seed=seed, target=target)
        problem = search_problem(self.network, self.data, space, study)
        searcher = create_searcher(SEARCHER, problem, {})
        executor = InProcessExecutor(self.evaluator)
        began = time.process_time()
        summary = Study(searcher, executor, MemoryTrialStore(), space, budget, effort).run()
        assert summary.best is not None
        policy, predicted = summary.best.policy, summary.best.measurement
        assert predicted is not None
        return {
            "ratio": ratio,
            "score": summary.best.score,
            "policy": self.evaluator.explicit(policy).to_json(),
            "macs_ratio": predicted.cost.macs / space.full.macs,
            "predicted_ratio": predicted.cost.latency_ns / self._full_latency,
            "cpu_seconds": time.process_time() - began,
            "measured": self.measure(policy, TARGET, 1),
        }

    @cached_property
    def _full_latency(self) -> float:
        return self.space("latency").full.latency_ns

    def measure(self, policy: Policy, target: Target, batch: int) -> dict[str, Any]:
        """Measure the repaired network of a policy."""
        path = self.folder / f"{self.name}-cut.onnx"
        path.write_bytes(self._template.bytes_of(self.evaluator.repaired_network(policy)))
        return measure_latency(path, target, self._uncut, LatencyPlan(batch, SECONDS)).to_json()

    def at_half(self, way: str, seed: int) -> dict[str, Any]:
        """Search until the winner's measured time is half of the uncut network's."""
        searches: list[dict[str, Any]] = []
        ratio = FIRST_RATIO[way]
        while len(searches) < MOST_SEARCHES:
            searches.append(self.search(way, ratio, seed))
            if abs(time_of(searches[-1]) / HALF - 1) <= TOLERANCE:
                break
            ratio = next_ratio(way, ratio, time_of(searches[-1]))
        winner = returned(searches)
        policy = Policy.from_json(winner["policy"])
        found = self.fresh.evaluate(policy)
        elsewhere = [self.measure(policy, *each) for each in ELSEWHERE]
        return {
            "way": way,
            "seed": seed,
            "searches": searches,
            "returned": searches.index(winner),
            "fresh_accuracy": found.accuracy,
            "widths": list(policy.widths(self.network.graph)),
            "elsewhere": elsewhere,
        }

    def finetune(self, policy: dict[str, Any]) -> dict[str, Any]:
        """Fine-tune a returned network; score it once on the test split."""
        module = self.evaluator.repaired_network(Policy.from_json(policy))
        train(module, self.data, FINETUNE)
        return {
            **cifar.accuracies(module, self.data),
            "precision": cifar.PRECISION,
        }


def time_of(search: dict[str, Any]) -> float:
    """Return the measured time of a search's winner over that of the uncut network."""
    return 1 / search["measured"]["speedup"]


def next_ratio(way: str, ratio: float, seconds: float) -> float:
    """Return the budget whose winner should take half of the time.

    Args:
        way: what the budget limits.
        ratio: the budget tried last, over the uncut network's cost.
        seconds: what its winner took, over the uncut network's time.
    """
    return ratio * (HALF / seconds) ** STEEPNESS[way]


def returned(searches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the best-scored winner among those fast enough; the fastest where none is."""
    enough = [each for each in searches if time_of(each) <= HALF * (1 + TOLERANCE)]
    if not enough:
        return min(searches, key=time_of)
    return max(enough, key=lambda each: each["score"])


def tuned(bench: Bench, key: str) -> dict[str, Any]:
    """Fine-tune what a finished cell returned; nothing while that is missing."""
    cell = bench.cells.read(key)
    if cell is None:
        return {}
    return bench.finetune(cell["searches"][cell["returned"]]["policy"])


def plan() -> Iterator[tuple[str, str, str, int]]:
    """Yield the key, network, way and seed of every search, the whole of a seed together."""
    for case in latency_report.CASES:
        for seed in case.seeds:
            for way in latency_report.WAYS:
                yield latency_report.key_of(case.network, way, seed), case.network, way, seed


def main() -> None:
    """Compute the missing cells, then summarise what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="summarise only; compute nothing")
    parser.add_argument("--only", default="", help="compute only cells whose key contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells(latency_report.NAME)
    if not arguments.report:
        with TemporaryDirectory() as folder:
            _compute(cells, Path(folder), arguments.only)
    print(latency_report.table(latency_report.write(cells)))


def _compute(cells: Cells, folder: Path, only: str) -> None:
    benches: dict[str, Bench] = {}

    def bench(name: str) -> Bench:
        if name not in benches:
            benches[name] = Bench(name, folder, cells)
        return benches[name]

    for key, network, way, seed in plan():
        for name in (key, f"{key}-tuned") if network in latency_report.TUNED else (key,):
            if only not in name or cells.read(name) is not None:
                continue
            began = time.perf_counter()
            try:
                subject = bench(network)
                search = partial(subject.at_half, way, seed)
                done = cells.compute(name, search if name == key else partial(tuned, subject, key))
            except FileNotFoundError as missing:
                print(f"{name:32s} waits: {missing}", flush=True)
                continue
            state = "elsewhere" if done is None else f"{time.perf_counter() - began:.0f} s"
            print(f"{name:32s} {state}", flush=True)


if __name__ == "__main__":
    main()
