"""Our evaluation against the plain published way, interleaved, one thread, CPU time.

The published way (AMC's and its successors'): deep copy of the network, masks of zeros,
evaluation of the full-size network in NCHW with its norms unfused, batches of 50; with
reconstruction, `lstsq` on all sampled rows of each layer, for each candidate anew.
Both ways score the same policies on the same images, and their predictions are compared.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from automl_agents.catalogue import create_searcher
from automl_compress.compress.reconstruction import (
    DAMPING,
    Reconstruction,
    from_kernel_major,
    kernel_major,
    sample_patches,
    solvable_layers,
)
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import (
    Budget,
    Effort,
    Recipe,
    SearchProblem,
    SpaceOptions,
)
from automl_compress.costs import compression_space
from automl_compress.data.datasets import Split
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import candidates_of
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.networks.architectures import build_network
from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.trace import Network, trace
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study
from benchmarks import cifar, records

IMAGES, POLICIES, SEED = 2000, 10, 0
PUBLISHED_BATCH, OUR_BATCH = 50, 32
CALIBRATION_IMAGES = 512
SEARCH_IMAGES, SEARCH_EVALUATIONS = 1000, 100


Result = TypeVar("Result")


@dataclass
class Timings:
    """CPU seconds of both ways over the same policies."""

    ours: list[float] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    ours_build: list[float] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)

    def speedup(self) -> float:
        """Return the smaller of the ratios of medians and of minima."""
        return min(
            statistics.median(self.published) / statistics.median(self.ours),
            min(self.published) / min(self.ours),
        )


def cpu_seconds(work: Callable[[], Result]) -> tuple[float, Result]:
    """Run `work`; return its CPU seconds and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


class PublishedWay:
    """Masked copies; reconstruction from stored rows."""

    def __init__(self, network: Network, calibration: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.network = network
        self.rows = _rows(network, calibration)

    def masked(self, kept: Sequence[Tensor]) -> nn.Module:
        """Return a deep copy whose removed channels are zero."""
        twin = copy.deepcopy(self.network.module)
        tensors = dict(twin.named_parameters()) | dict(twin.named_buffers())
        mask = self.network.plan.mask(kept)
        with torch.no_grad():
            for (name, axis), numbers in self.network.plan.axes.items():
                if axis == SOURCE_VALUES:  # a shortcut shows zero where its input is masked
                    shown = tensors[name]
                    shown[torch.isin(shown, (~mask[numbers]).nonzero())] = len(numbers)
                elif not name.endswith(".source"):
                    shape = [1] * tensors[name].dim()
                    shape[axis] = -1
                    tensors[name].mul_(mask[numbers].view(shape))
        return twin

    def reconstructed(self, kept: Sequence[Tensor]) -> nn.Module:
        """Return a masked copy with every layer's remaining inputs fitted by least squares."""
        twin = self.masked(kept)
        mask = self.network.plan.mask(kept)
        for layer in self.rows:
            keeps = mask[self.network.plan.axes[f"{layer}.weight", 1]]
            if not bool(keeps.all()):
                self._fit(twin, layer, keeps, mask)
        return twin

    @torch.no_grad()
    def _fit(self, twin: nn.Module, layer: str, keeps: Tensor, mask: Tensor) -> None:
        member: Any = twin.get_submodule(layer)
        original: Any = self.network.module.get_submodule(layer)
        weight = kernel_major(original.weight)
        outputs, positions, inputs = weight.shape
        rows = self.rows[layer].double()
        columns = (torch.arange(positions)[:, None] * inputs + keeps.nonzero().T).flatten()
        centred = rows - rows.mean(0)
        target = centred @ weight.reshape(outputs, -1).T.double()
        damping = DAMPING * centred[:, columns].square().mean(0).mean()
        chosen = torch.cat(
            [centred[:, columns], (damping * len(rows)).sqrt() * torch.eye(len(columns))]
        )
        padded = torch.cat([target, torch.zeros(len(columns), outputs)])
        solution = torch.linalg.lstsq(chosen, padded).solution  # (S, O)
        full = torch.zeros(outputs, positions * inputs, dtype=torch.float64)
        full[:, columns] = solution.T
        new = from_kernel_major(full.view(outputs, positions, inputs).float(), member.weight.shape)
        rows_out = (
            mask[self.network.plan.axes[f"{layer}.weight", 0]]
            if (
                f"{layer}.weight",
                0,
            )
            in self.network.plan.axes
            else torch.ones(outputs, dtype=torch.bool)
        )
        member.weight.copy_(new * rows_out.view(-1, *[1] * (new.dim() - 1)))
        norm_name = self.network.plan.norm_after.get(layer)
        fitted = centred[:, columns] @ solution
        mean = rows.mean(0)[columns] @ solution
        if norm_name is not None:
            norm: Any = twin.get_submodule(norm_name)
            norm.running_mean.copy_(mean * rows_out)
            norm.running_var.copy_(fitted.var(0, correction=0) * rows_out)
        elif member.bias is not None:
            shift = rows.mean(0) @ weight.reshape(outputs, -1).T.double() - mean
            member.bias.copy_((original.bias + shift) * rows_out)


def _rows(network: Network, calibration: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Store the sampled input rows of every layer, at the positions our statistics use."""
    generator = torch.Generator().manual_seed(SEED)
    rows: dict[str, list[Tensor]] = {name: [] for name in solvable_layers(network)}

    def store(kept: list[Tensor], member: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(sample_patches(member, inputs[0], generator))

    hooks = [
        network.module.get_submodule(name).register_forward_pre_hook(partial(store, kept))
        for name, kept in rows.items()
    ]
    with torch.no_grad():
        for images, _ in calibration:
            network.module(images)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in rows.items() if parts}


def predictions(forward: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> Tensor:
    """Return the predicted classes of all batches."""
    with torch.inference_mode():
        return torch.cat([forward(images).argmax(1) for images in batches])


def compare(network: Network, search: Split, train: Split, ratio: float, repaired: bool) -> Timings:
    """Score `POLICIES` random policies at this MACs ratio both ways, in turns."""
    calibration = list(train.subset(0, CALIBRATION_IMAGES).batches(OUR_BATCH))
    reconstruction = Reconstruction(network, calibration, SEED) if repaired else None
    candidates = candidates_of(network, reconstruction)
    published = PublishedWay(network, calibration if repaired else [])
    images = search.subset(0, IMAGES)
    theirs = [batch for batch, _ in images.batches(PUBLISHED_BATCH)]
    ours = [
        batch.contiguous(memory_format=torch.channels_last)
        for batch, _ in images.batches(OUR_BATCH)
    ]
    space = compression_space(network.graph, SpaceOptions())
    selector = ChannelSelector(network)
    rng = np.random.default_rng(SEED)
    timings = Timings()
    for turn in range(POLICIES + 1):  # the first warms both up and is not counted
        policy = space.policy(space.sample(rng, Budget("macs", ratio)))
        kept = selector.kept(policy)
        build, forward = cpu_seconds(lambda kept=kept: candidates.of(Candidate(kept)))
        score, our_classes = cpu_seconds(lambda f=forward: predictions(f, ours))
        way = published.reconstructed if repaired else published.masked
        their_build, twin = cpu_seconds(lambda way=way, kept=kept: way(kept))
        their_score, their_classes = cpu_seconds(lambda t=twin: predictions(t, theirs))
        if turn:
            timings.ours.append(build + score)
            timings.ours_build.append(build)
            timings.published.append(their_build + their_score)
            timings.agreement.append(float((our_classes == their_classes).float().mean()))
        print(
            f"  {turn:2d}  published {their_build + their_score:6.2f} s   ours "
            f"{build + score:6.2f} s   ratio {(their_build + their_score) / (build + score):5.2f}"
            f"   build {build * 1e3:6.2f} ms",
            flush=True,
        )
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


def amc_shares(network: Network, search: Split, train: Split) -> dict[str, float]:
    """Say where the CPU time of a whole AMC search goes, as shares of it."""
    recipe = Recipe(images=SEARCH_IMAGES, calibration_images=CALIBRATION_IMAGES)
    evaluator = PolicyEvaluator(network, search, train, recipe)
    space = compression_space(network.graph, SpaceOptions())
    budget, effort = Budget("macs", 0.5), Effort(SEARCH_EVALUATIONS)
    store = MemoryTrialStore()
    began = time.process_time()
    searcher = create_searcher("amc", SearchProblem(space, budget, effort, SEED), {})
    Study(searcher, InProcessExecutor(evaluator), store, space, budget, effort).run()
    total = time.process_time() - began
    measured = [trial.measurement for trial in store.trials() if trial.measurement is not None]
    forward = sum(each.forward_cpu_seconds for each in measured)
    evaluating = sum(each.cpu_seconds for each in measured)
    return {
        "forward": round(forward / total, 3),
        "building_and_scoring": round((evaluating - forward) / total, 3),
        "searcher_and_loop": round(1 - evaluating / total, 3),
        "cpu_seconds_per_evaluation": round(total / len(measured), 3),
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
        cases = [("50", 0.5, False), ("25", 0.25, False)]
        if name == "mobilenetv2":
            cases.append(("25_reconstruction", 0.25, True))
        for label, ratio, repaired in cases:
            print(f"{name} at {ratio:.0%} of MACs kept, {'with' if repaired else 'no'} repair")
            timings = compare(network, search, train, ratio, repaired)
            summary[f"{name}.speedup_{label}"] = round(timings.speedup(), 2)
            summary[f"{name}.agreement_{label}"] = round(min(timings.agreement), 5)
            details[f"{name}.{label}"] = vars(timings)
            records.save("evaluation", summary, details, [SEED])
        faster, theirs, ours = build_ratio(network, 0.5)
        summary[f"{name}.build_speedup"] = round(faster, 1)
        details[f"{name}.build_ms"] = {"torch_pruning": theirs, "ours": ours}
        print(f"{name}: building {faster:.0f}x faster ({theirs:.0f} ms against {ours:.2f} ms)")
    print(f"where an AMC search of ResNet-20, {SEARCH_IMAGES} images an evaluation, spends itself")
    shares = amc_shares(trace(cifar.resnet(20), data.input_shape), search, train)
    for part, share in shares.items():
        summary[f"resnet20.amc_{part}"] = share
    records.save("evaluation", summary, details, [SEED])
    print("\n".join(f"{key:45s} {value}" for key, value in summary.items()))


if __name__ == "__main__":
    main()
