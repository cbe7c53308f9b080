"""From an `nn.Module` to a layer graph and a channel plan."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.core import LayerGraph, Obstacle
from automl_compress.core.errors import WeightsMismatch
from automl_compress.networks.coupling import (
    SOURCE_VALUES,
    CoupledChannels,
    Coupling,
    TensorAxis,
    analyse_coupling,
    tie_convolution_groups,
)
from automl_compress.networks.describe import describe, record_uses
from automl_compress.networks.fingerprint import graph_fingerprint
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.surgery import cut_module, masked_module, tensors_of

PROBE_TOLERANCE = 1e-3  # of the largest output; real couplings that were missed differ by far more


@dataclass(frozen=True)
class Network:
    """A traced network: the module itself, what the search sees of it, and how to cut it."""

    module: nn.Module
    graph: LayerGraph
    plan: ChannelPlan


# The channels of a group in order, each an atom of the coupling; and the group.
Candidate = tuple[np.ndarray, CoupledChannels]


def trace(module: nn.Module, input_shape: tuple[int, ...]) -> Network:
    """Find a network's layers, coupled channel groups and costs.

    Every group is proved by cutting: the cut network must compute what the masked one does.
    Groups that fail are reported in `graph.obstacles` and stay whole; all others remain
    compressible.

    Args:
        module: any network of one input (B, *input_shape) and one output; put into evaluation
            mode.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: the forward pass fails or cannot be traced at all.
        WeightsMismatch: weights hold NaN or infinity.
    """
    module.eval()
    _check_finite(module)
    fingerprint = graph_fingerprint(module, input_shape)
    uses = record_uses(module, input_shape)
    coupling = analyse_coupling(module, torch.zeros(2, *input_shape))
    atoms, placed = tie_convolution_groups(coupling, module)
    candidates, obstacles = _candidates(coupling, atoms)
    plan = _plan(module, candidates, placed, coupling.norm_after)
    proved, refused = _prove(module, plan, [group for _, group in candidates], input_shape)
    obstacles.extend(refused)
    kept = [candidate for candidate, is_proved in zip(candidates, proved, strict=True) if is_proved]
    plan = _plan(module, kept, placed, coupling.norm_after)
    graph = describe(
        module,
        plan,
        [group for _, group in kept],
        coupling.edges,
        uses,
        tuple(obstacles),
        input_shape,
        fingerprint,
    )
    return Network(module, graph, plan)


def _check_finite(module: nn.Module) -> None:
    for name, tensor in tensors_of(module).items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsMismatch(
                f"{name} holds NaN or infinity; only finite weights can be compressed"
            )


def _candidates(
    coupling: Coupling, atoms: list[np.ndarray]
) -> tuple[list[Candidate], list[Obstacle]]:
    """Unite groups that share atoms, and set aside those that cannot be cut."""
    candidates: list[Candidate] = []
    obstacles: list[Obstacle] = []
    for group_atoms, group in zip(atoms, coupling.groups, strict=True):
        distinct = group_atoms[np.sort(np.unique(group_atoms, return_index=True)[1])]
        shared = [i for i, (other, _) in enumerate(candidates) if np.isin(other, distinct).any()]
        for place in reversed(shared):
            other, other_group = candidates.pop(place)
            distinct = np.concatenate([other, distinct[~np.isin(distinct, other)]])
            group = _united(other_group, group)
        candidates.append((distinct, group))
    free: list[Candidate] = []
    for distinct, group in candidates:
        if group.obstacles:
            names = tuple(group.producers)
            operators = ", ".join(sorted({operator for _, operator, _ in group.obstacles}))
            reasons = "; ".join(sorted({reason for _, _, reason in group.obstacles}))
            obstacles.append(Obstacle(names, operators, reasons))
        elif len(distinct) < 2:
            reason = "all its channels must be cut together, so nothing would remain"
            obstacles.append(Obstacle(tuple(group.producers), "grouped convolution", reason))
        else:
            free.append((distinct, group))
    return free, obstacles


def _united(first: CoupledChannels, second: CoupledChannels) -> CoupledChannels:
    return CoupledChannels(
        channels=first.channels,
        producers=list(dict.fromkeys([*first.producers, *second.producers])),
        consumers=list(dict.fromkeys([*first.consumers, *second.consumers])),
        obstacles=[*first.obstacles, *second.obstacles],
    )


def _plan(
    module: nn.Module,
    candidates: list[Candidate],
    placed: Mapping[TensorAxis, tuple[np.ndarray, np.ndarray]],
    norm_after: Mapping[str, str],
) -> ChannelPlan:
    """Number the channels of these groups through and fill in every tensor axis."""
    total = sum(len(atoms) for atoms, _ in candidates)
    largest = max((int(atoms.max()) for _, atoms in placed.values() if len(atoms)), default=0)
    numbers = np.full(largest + 1, total, dtype=np.int64)  # atom -> channel number
    start = 0
    for atoms, _ in candidates:
        numbers[atoms] = np.arange(start, start + len(atoms))
        start += len(atoms)
    tensors = tensors_of(module)
    axes: dict[TensorAxis, Tensor] = {}
    for (name, axis), (local, atoms) in placed.items():
        if axis == SOURCE_VALUES:
            size = module.get_submodule(name.rpartition(".")[0]).in_channels
        else:
            size = tensors[name].shape[axis]
        entries = np.full(size, total, dtype=np.int64)
        inside = local < size  # a grouped convolution stores its first group's inputs only
        entries[local[inside]] = numbers[atoms[inside]]
        if (entries != total).any():
            axes[name, int(axis)] = torch.from_numpy(entries)
    return ChannelPlan(tuple(len(atoms) for atoms, _ in candidates), axes, dict(norm_after))


def _prove(
    module: nn.Module,
    plan: ChannelPlan,
    groups: list[CoupledChannels],
    input_shape: tuple[int, ...],
) -> tuple[list[bool], list[Obstacle]]:
    """Cut half of every group; where that fails, each group alone."""
    everything = [torch.arange(channels) for channels in plan.channels]
    halves = [torch.arange(0, channels, 2) for channels in plan.channels]
    if not groups or _refusal(module, plan, halves, input_shape) is None:
        return [True] * len(groups), []
    proved: list[bool] = []
    obstacles: list[Obstacle] = []
    for place, group in enumerate(groups):
        kept = [*everything[:place], halves[place], *everything[place + 1 :]]
        refusal = _refusal(module, plan, kept, input_shape)
        proved.append(refusal is None)
        if refusal is not None:
            operator, reason = refusal
            obstacles.append(Obstacle(tuple(group.producers), operator, reason))
    return proved, obstacles


def _refusal(
    module: nn.Module, plan: ChannelPlan, kept: list[Tensor], input_shape: tuple[int, ...]
) -> tuple[str, str] | None:
    """Return (operator, reason) if cutting is not the same as masking; None if it is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *input_shape, generator=generator)
    with torch.no_grad():
        masked = masked_module(module, plan, kept)(images)
        try:
            cut = cut_module(module, plan, kept)(images)
        except Exception as error:  # whatever the user's forward pass raises on cut tensors
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{frame.line or frame.name} (line {frame.lineno})"
            return where, f"the forward pass fixes a channel count: {error}"
    if cut.shape != masked.shape:
        return "output", "it carries the network's output"
    largest = float(masked.abs().max())
    if float((cut - masked).abs().max()) > PROBE_TOLERANCE * max(largest, 1e-3):
        return "unknown", "cutting changes what the network computes: channels are mixed unseen"
    return None
