"""Our evaluation against the plain published way, interleaved, one thread, CPU time.

Published, torch and OpenVINO score the same policies on the same images, and their predictions
are compared. OpenVINO's time has that of compiling each candidate in it.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from automl_agents.catalogue import create_searcher
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import (
    Budget,
    Effort,
    Measurement,
    Recipe,
    SearchProblem,
    SpaceOptions,
)
from automl_compress.costs import compression_space
from automl_compress.data.datasets import Split
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import Candidates, ProgramCandidates, candidates_of
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.evaluate.openvino_candidates import OpenVinoCandidates
from automl_compress.networks.architectures import build_network
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from benchmarks import cifar, records
from benchmarks.published_way import PublishedWay

IMAGES, POLICIES, SEED = 2000, 10, 0
PUBLISHED_BATCH, OUR_BATCH = 50, 32
CALIBRATION_IMAGES = 512
SEARCH_IMAGES, SEARCH_EVALUATIONS = 1000, 100
LONG_SEARCH_EVALUATIONS = 40
GEMM_SIZE = 1024


Result = TypeVar("Result")


@dataclass(frozen=True)
class Case:
    """Policies of a network at one MACs ratio; `label` is its part of the summary's keys."""

    label: str
    ratio: float
    is_repaired: bool = False
    round_to: int = 1


CASES = {
    "resnet56": [Case("50", 0.5), Case("25", 0.25), Case("50_round_to_16", 0.5, round_to=16)],
    "mobilenetv2": [
        Case("50", 0.5),
        Case("25", 0.25),
        Case("25_reconstruction", 0.25, is_repaired=True),
        Case("50_round_to_16", 0.5, round_to=16),
        Case("25_round_to_16", 0.25, round_to=16),
    ],
}


@dataclass
class Timings:
    """CPU seconds of each way over the same policies, and how often it predicts as published."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    agreement: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, way: str, seconds: float, agreement: float) -> None:
        """Take note of one policy."""
        self.seconds.setdefault(way, []).append(seconds)
        self.agreement.setdefault(way, []).append(agreement)

    def speedup(self, way: str) -> float:
        """Return the smaller of the ratios of medians and of minima."""
        published, ours = self.seconds["published"], self.seconds[way]
        return min(
            statistics.median(published) / statistics.median(ours), min(published) / min(ours)
        )


def cpu_seconds(work: Callable[[], Result]) -> tuple[float, Result]:
    """Run `work`; return its CPU seconds and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def predictions(forward: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> Tensor:
    """Return the predicted classes of all batches."""
    with torch.inference_mode():
        return torch.cat([forward(images).argmax(1) for images in batches])


def compare(network: Network, search: Split, train: Split, case: Case) -> Timings:
    """Score `POLICIES` random policies each way, in turns."""
    calibration = list(train.subset(0, CALIBRATION_IMAGES).batches(OUR_BATCH))
    reconstruction = Reconstruction(network, calibration, SEED) if case.is_repaired else None
    programs = ProgramCandidates(network, reconstruction)
    ways: dict[str, Candidates] = {
        "torch": programs,
        "openvino": OpenVinoCandidates(programs, OUR_BATCH, network.graph.input_shape),
    }
    published = PublishedWay(network, calibration if case.is_repaired else [])
    images = search.subset(0, IMAGES)
    theirs = [batch for batch, _ in images.batches(PUBLISHED_BATCH)]
    ours = [
        batch.contiguous(memory_format=torch.channels_last)
        for batch, _ in images.batches(OUR_BATCH)
    ]
    space = compression_space(network.graph, SpaceOptions(round_to=case.round_to))
    selector = ChannelSelector(network)
    rng = np.random.default_rng(SEED)
    timings = Timings()
    for turn in range(POLICIES + 1):  # the first warms all up and is not counted
        kept = selector.kept(space.policy(space.sample(rng, Budget("macs", case.ratio))))
        published_of = published.reconstructed if case.is_repaired else published.masked
        seconds, expected = cpu_seconds(lambda of=published_of, k=kept: predictions(of(k), theirs))
        told = [f"published {seconds:6.2f} s"]
        if turn:
            timings.add("published", seconds, 1.0)
        for name, way in ways.items():
            mine, found = cpu_seconds(
                lambda way=way, k=kept: predictions(way.of(Candidate(k)), ours)
            )
            told.append(f"{name} {mine:6.2f} s, {seconds / mine:5.2f} times faster")
            if turn:
                timings.add(name, mine, float((found == expected).float().mean()))
        print(f"  {turn:2d}  {'   '.join(told)}", flush=True)
    return timings


def build_ratio(network: Network, ratio: float) -> tuple[float, float, float]:
    """Time building candidates: Torch-Pruning's deep copy and step against ours.

    Returns:
        Ratio of medians, Torch-Pruning's median and our median in milliseconds of CPU time.
    """
    import torch_pruning

    space = compression_space(network.graph, SpaceOptions())
    selector, candidates = ChannelSelector(network), candidates_of(network)
    rng = np.random.default_rng(SEED)
    example = torch.zeros(1, *network.graph.input_shape)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(POLICIES):
        policy = space.policy(space.sample(rng, Budget("macs", ratio)))
        kept = selector.kept(policy)
        ours.append(cpu_seconds(lambda kept=kept: candidates.of(Candidate(kept)))[0])

        def prune(policy=policy) -> None:
            twin = copy.deepcopy(network.module)
            ratios: dict[Any, float] = {
                twin.get_submodule(choice.group): choice.sparsity for choice in policy.choices
            }
            last = network.graph.layers[-1].name
            pruner = torch_pruning.pruner.BasePruner(
                twin,
                example,
                importance=torch_pruning.importance.MagnitudeImportance(p=1),
                pruning_ratio=0.0,
                pruning_ratio_dict=ratios,
                ignored_layers=[twin.get_submodule(last)],
            )
            pruner.step()

        theirs.append(cpu_seconds(prune)[0])
    their_median, our_median = statistics.median(theirs), statistics.median(ours)
    return their_median / our_median, 1e3 * their_median, 1e3 * our_median


def amc_search(
    network: Network, search: Split, train: Split, recipe: Recipe, evaluations: int
) -> tuple[float, list[Measurement]]:
    """Run AMC at half of the MACs; return its CPU seconds and what it measured."""
    evaluator = PolicyEvaluator(network, search, train, recipe)
    space = compression_space(network.graph, SpaceOptions())
    budget, effort = Budget("macs", 0.5), Effort(evaluations)
    store = MemoryTrialStore()
    began = time.process_time()
    searcher = create_searcher("amc", SearchProblem(space, budget, effort, SEED), {})
    Study(searcher, InProcessExecutor(evaluator), store, space, budget, effort).run()
    total = time.process_time() - began
    return total, [each.measurement for each in store.trials() if each.measurement is not None]


def amc_shares(network: Network, search: Split, train: Split) -> dict[str, float]:
    """Say where the CPU time of a whole AMC search goes, as shares of it."""
    recipe = Recipe(images=SEARCH_IMAGES, calibration_images=CALIBRATION_IMAGES)
    total, measured = amc_search(network, search, train, recipe, SEARCH_EVALUATIONS)
    forward = sum(each.forward_cpu_seconds for each in measured)
    evaluating = sum(each.cpu_seconds for each in measured)
    return {
        "forward": round(forward / total, 3),
        "building_and_scoring": round((evaluating - forward) / total, 3),
        "searcher_and_loop": round(1 - evaluating / total, 3),
        "cpu_seconds_per_evaluation": round(total / len(measured), 3),
    }


def gemm_seconds_per_mac() -> float:
    """Return the CPU seconds of one multiply-accumulate in this machine's matrix product."""
    left, right = (torch.randn(GEMM_SIZE, GEMM_SIZE) for _ in range(2))
    taken = [cpu_seconds(lambda: left @ right)[0] for _ in range(20)]
    return statistics.median(taken) / GEMM_SIZE**3


def amc_against_gemm(network: Network, search: Split, train: Split) -> dict[str, float | str]:
    """Compare a whole AMC search's CPU time with that of its MACs in matrix products."""
    recipe = Recipe(repair="none", images=IMAGES, backend="auto")
    before = gemm_seconds_per_mac()
    total, measured = amc_search(network, search, train, recipe, LONG_SEARCH_EVALUATIONS)
    a_mac = (before + gemm_seconds_per_mac()) / 2
    least = a_mac * sum(each.cost.macs * each.total for each in measured)
    return {
        "amc_over_gemm": round(total / least, 2),
        "amc_backend": measured[0].recipe.backend,
        "gemm_gflops": round(2e-9 / a_mac, 1),
    }


def settled_mobilenet(train: Split) -> nn.Module:
    """Return a MobileNetV2 of random weights whose norms have seen images."""
    torch.manual_seed(SEED)
    module = build_network("mobilenet-v2").train()
    with torch.no_grad():
        for images, _ in train.subset(0, 1024).batches(64):
            module(images)
    return module.eval()


def main() -> None:
    """Run everything and store the figures."""
    torch.set_num_threads(1)
    data = cifar.cifar(max_train_images=2048)
    search, train = data.split("search"), data.split("train")
    summary: dict[str, object] = {}
    details: dict[str, object] = {}
    networks = {"resnet56": cifar.resnet(56), "mobilenetv2": settled_mobilenet(train)}
    for name, module in networks.items():
        network = trace(module, data.input_shape)
        for case in CASES[name]:
            print(f"{name}, {case}")
            timings = compare(network, search, train, case)
            for way, suffix in (("torch", ""), ("openvino", "_openvino")):
                key = f"{case.label}{suffix}"
                summary[f"{name}.speedup_{key}"] = round(timings.speedup(way), 2)
                summary[f"{name}.agreement_{key}"] = round(min(timings.agreement[way]), 5)
            details[f"{name}.{case.label}"] = vars(timings)
            records.save("evaluation", summary, details, [SEED])
        faster, theirs, ours = build_ratio(network, 0.5)
        summary[f"{name}.build_speedup"] = round(faster, 1)
        details[f"{name}.build_ms"] = {"torch_pruning": theirs, "ours": ours}
        print(f"{name}: building {faster:.0f}x faster ({theirs:.0f} ms against {ours:.2f} ms)")
    print(f"where an AMC search of ResNet-20, {SEARCH_IMAGES} images an evaluation, spends itself")
    shares = amc_shares(trace(cifar.resnet(20), data.input_shape), search, train)
    for part, share in shares.items():
        summary[f"resnet20.amc_{part}"] = share
    print(f"AMC of ResNet-56, {IMAGES} images an evaluation, against the matrix product")
    against = amc_against_gemm(trace(cifar.resnet(56), data.input_shape), search, train)
    summary |= {f"resnet56.{part}": value for part, value in against.items()}
    records.save("evaluation", summary, details, [SEED])
    print("\n".join(f"{key:45s} {value}" for key, value in summary.items()))


if __name__ == "__main__":
    main()
