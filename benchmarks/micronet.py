"""The MicroNet winners' pipeline on ResNet-20: ratios and bits by hand against searched ones.

The score's baseline is WideResNet-28-10, as of the challenge's CIFAR-100 track. Every network, the
uncut one as well, trains for two epochs behind each of three stages, distilled from the uncut
network, in float32: not every processor multiplies bfloat16, and all of them train alike. By hand
means the winners' published ratios and bits; the search gets 600 evaluations of 1,000 images, which
are some 98 policies distilled for 32 steps each, for one that scores at most 0.95 of that. Stages
are measured on the search split, the end once on the test split.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from automl_agents.allocation.config import MicroNetConfig
from automl_agents.allocation.micronet import hand_set
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
from automl_compress.costs import compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.confirm import Confirmer
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.evaluate.problem import search_problem
from automl_compress.evaluate.stages import Stage, StageReport
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from automl_compress.train.accuracy import evaluate_accuracy
from benchmarks import cifar
from benchmarks.cells import Cells, run
from benchmarks.micronet_report import FLOOR_POINTS, NAME, SEEDS, write

SHARE = 0.95  # of the hand-set score
EVALUATIONS = 600
# Untrained, a network with most of its weights gone says little of what training will make of it,
# with new statistics or without: the cell `untuned-by-hand` has all three.
RECIPE = Recipe(
    repair="distillation", signal="kl", images=cifar.SEARCH_IMAGES, calibration_images=1024
)
TUNING = Confirmation(
    finetune_epochs=2,
    distillation_weight=1.0,
    distillation_direction="reverse",
    recipe="micronet",
    floor_points=FLOOR_POINTS,
)
BY_HAND = SpaceOptions(
    schemes=("element",), weight_bits=(4, 6, 32), activation_bits=(4, 32), edge_bits=None
)
SEARCHED = SpaceOptions(
    schemes=("element",),
    weight_bits=(4, 5, 6, 7, 8),
    activation_bits=(4, 5, 6, 7, 8, 32),
    edge_bits=8,
    max_element_sparsity=0.9,
    density_step=1,
)
WORK = Path(__file__).parent / "work" / NAME  # checkpoints between stages


class FolderLog:
    """Keeps a network's stages in files, so that a stopped benchmark goes on behind the last."""

    def __init__(self, key: str) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        self._key, self._index = key, WORK / f"{key}.json"
        self.stages: list[dict[str, Any]] = []
        if self._index.exists():
            self.stages = json.loads(self._index.read_text())

    def latest(self, subject: int | None) -> tuple[Stage, Path] | None:
        """Return the last stage that has a checkpoint; a log is of one network."""
        kept: list[Stage] = [each["stage"] for each in self.stages if each["stage"] != "fold"]
        return (kept[-1], self._path(kept[-1])) if kept else None

    def keep(self, report: StageReport, checkpoint: bytes | None) -> None:
        """Write the checkpoint, then the list of stages."""
        if checkpoint is not None:
            self._path(report.stage).write_bytes(checkpoint)
        told = {
            "stage": report.stage,
            "micronet": report.measurement.cost.micronet,
            "search_accuracy": report.measurement.accuracy,
            "seconds": report.wall_seconds,
            "logit_change": report.logit_change,
        }
        self.stages = [each for each in self.stages if each["stage"] != report.stage] + [told]
        partial_index = self._index.with_suffix(".partial")
        partial_index.write_text(json.dumps(self.stages))
        partial_index.replace(self._index)
        print(f"  {self._key:24s} {told}", flush=True)

    def _path(self, stage: Stage) -> Path:
        return WORK / f"{self._key}-{stage}.safetensors"


class Bench:
    """The network, its images, and the evaluator that searches share."""

    def __init__(self) -> None:
        self.data: ImageData = replace(cifar.cifar(), augmentation=Augmentation(True, 4))
        self.network: Network = trace(cifar.resnet(20), self.data.input_shape)
        space = compression_space(self.network.graph, BY_HAND)
        self.by_hand = space.policy(hand_set(space, MicroNetConfig()))
        score = space.costs.cost(space.setting(self.by_hand)).micronet
        self.ratio = SHARE * score / space.full.micronet

    def study(self, seed: int = 0) -> StudySpec:
        """Return the search of one seed; all networks are tuned with the same seed."""
        return StudySpec(
            "auto",
            Budget("micronet", self.ratio),
            Effort(EVALUATIONS),
            space=SEARCHED,
            recipe=RECIPE,
            confirmation=TUNING,
            seed=seed,
        )

    def search(self, seed: int) -> dict[str, Any]:
        """Search ratios and bits."""
        study, search, train = self.study(seed), self.data.split("search"), self.data.split("train")
        space = compression_space(self.network.graph, study.space)
        problem = search_problem(self.network, self.data, space, study)
        evaluator = PolicyEvaluator(self.network, search, train, RECIPE)
        began = time.process_time()
        executor, store = InProcessExecutor(evaluator), MemoryTrialStore()
        searcher = create_searcher(study.searcher, problem, {})
        summary = Study(searcher, executor, store, space, study.budget, study.effort).run()
        best = summary.best
        assert best is not None
        assert best.measurement is not None
        return {
            "seed": seed,
            "policy": best.policy.to_json(),
            "micronet": best.measurement.cost.micronet,
            "search_kl": best.measurement.kl,
            "cpu_seconds": time.process_time() - began,
        }

    def untuned(self, policy: Policy) -> dict[str, Any]:
        """Score a policy as it is, with new statistics, and distilled for a moment."""
        search, train = self.data.split("search"), self.data.split("train")
        found: dict[str, Any] = {}
        recalibrated = replace(RECIPE, repair="recalibration")
        recipes = {"as_it_is": RECIPE.unrepaired(), "recalibrated": recalibrated}
        for name, recipe in (recipes | {"distilled": RECIPE}).items():
            measured = PolicyEvaluator(self.network, search, train, recipe).evaluate(policy)
            found[name] = {"accuracy": measured.accuracy, "kl": measured.kl}
        return {"untuned": found}

    def tuned(self, key: str, policy: Policy | None) -> dict[str, Any]:
        """Carry a policy out, None for the uncut network; score it once on the test split."""
        log = FolderLog(key)
        study = replace(self.study(), recipe=RECIPE.unrepaired())  # training repairs
        confirmer = Confirmer(self.network, self.data, study, stages=log)
        if policy is None:
            scores = confirmer.uncut_scores()
            assert scores.search is not None
            micronet, test = scores.test.cost.micronet, scores.test.accuracy
        else:
            explicit = confirmer.explicit(policy)
            network = confirmer.compressed(explicit)
            micronet = log.stages[-1]["micronet"]
            correct, total = evaluate_accuracy(network.module, self.data.split("test"))
            test = correct / total
        return {"micronet": micronet, "test_accuracy": test, "stages": log.stages}


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
            yield f"search-{seed}", partial(self._search, seed)
        yield "untuned-by-hand", lambda: self.bench.untuned(self.bench.by_hand)
        yield "tuned-by-hand", lambda: self.bench.tuned("tuned-by-hand", self.bench.by_hand)
        for seed in SEEDS:
            yield f"tuned-searched-{seed}", partial(self._tuned, seed)
            if seed == SEEDS[0]:
                yield "tuned-uncut", lambda: self.bench.tuned("tuned-uncut", None)

    def _search(self, seed: int) -> dict[str, Any]:
        return self.bench.search(seed)

    def _tuned(self, seed: int) -> dict[str, Any]:
        """Tune what a seed's search found; {} while that is missing."""
        found = self._cells.read(f"search-{seed}")
        if found is None:
            return {}
        return self.bench.tuned(f"tuned-searched-{seed}", Policy.from_json(found["policy"]))


if __name__ == "__main__":
    run(NAME, __doc__ or "", Plan, write)
