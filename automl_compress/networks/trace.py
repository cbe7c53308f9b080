"""From an `nn.Module` to a layer graph and a channel plan."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.core import LayerGraph, Obstacle
from automl_compress.core.errors import ModelInvalid, WeightsMismatch
from automl_compress.networks.coupling import (
    CONVOLUTIONS,
    SOURCE_VALUES,
    CoupledChannels,
    Coupling,
    TensorAxis,
    analyse_coupling,
    tie_convolution_groups,
)
from automl_compress.networks.describe import describe, record_uses
from automl_compress.networks.elementwise import elementwise_uses
from automl_compress.networks.fingerprint import graph_fingerprint
from automl_compress.networks.outputs import unscored_layers
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.proof import refused_groups
from automl_compress.networks.shortcut import ZeroPadShortcut
from automl_compress.networks.surgery import tensors_of
from automl_compress.networks.uncounted import uncounted


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
    compressible, and are listed in the order in which a forward pass meets them. An obstacle
    without layers says how much of the forward pass no layer's costs account for.

    Args:
        module: any network of one input (B, *input_shape) and one output, or of several of which
            `select_output` chose one; put into evaluation mode. Layers that only the others
            depend on stay whole: no accuracy would tell what they lose.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: the forward pass fails or cannot be traced at all, it does not return one
            tensor and none is selected, or a weight is computed from other tensors.
        WeightsMismatch: weights hold NaN or infinity.
    """
    module.eval()
    _check_weights(module)
    fingerprint = graph_fingerprint(module, input_shape)
    uses = record_uses(module, input_shape)
    coupling = analyse_coupling(module, torch.zeros(2, *input_shape))
    atoms, placed = tie_convolution_groups(coupling, module)
    unscored = unscored_layers(module, input_shape)
    candidates, obstacles = _candidates(coupling, atoms, module, unscored)
    order = {name: place for place, name in enumerate(uses)}
    candidates.sort(key=lambda each: min(order.get(name, 0) for name in each[1].producers))
    norm_after = {
        layer: norm
        for layer, norm in coupling.norm_after.items()
        # A norm counts axis 1; behind a linear layer on sequences that is not its outputs.
        if not (isinstance(module.get_submodule(layer), nn.Linear) and uses[layer].output_size)
    }
    plan = _plan(module, candidates, placed, norm_after)
    refused = refused_groups(module, plan, input_shape)
    obstacles += [
        Obstacle(tuple(group.producers), operator or group.unproved_operators, reason)
        for place, (operator, reason) in refused.items()
        for group in [candidates[place][1]]
    ]
    kept = [each for place, each in enumerate(candidates) if place not in refused]
    plan = _plan(module, kept, placed, norm_after)
    graph = describe(
        module,
        plan,
        [group for _, group in kept],
        coupling.edges,
        uses,
        tuple(obstacles),
        input_shape,
        fingerprint,
        unscored,
    )
    return Network(module, _counted(module, graph), plan)


def _counted(module: nn.Module, graph: LayerGraph) -> LayerGraph:
    """Add what a forward pass computes outside of layers."""
    graph = replace(graph, elementwise=elementwise_uses(module, graph))
    missing = uncounted(module, graph)
    return graph if missing is None else replace(graph, obstacles=(*graph.obstacles, missing))


def _check_weights(module: nn.Module) -> None:
    tensors = tensors_of(module)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsMismatch(
                f"{name} holds NaN or infinity; only finite weights can be compressed"
            )
    shared = {id(parameter) for parameter in module.parameters()}
    for name, member in module.named_modules():
        if isinstance(member, (*CONVOLUTIONS, nn.Linear)) and id(member.weight) not in shared:
            raise ModelInvalid(
                f"the weight of {name} is computed from other tensors; give a network with plain "
                "weights (torch.nn.utils.parametrize.remove_parametrizations makes it one)"
            )


def _candidates(
    coupling: Coupling, atoms: list[np.ndarray], module: nn.Module, unscored: tuple[str, ...]
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
            # A norm is no producer: only its name says where it stands.
            operators = ", ".join(
                sorted(
                    {
                        operator if not name or name in names else f"{operator} {name}"
                        for name, operator, _ in group.obstacles
                    }
                )
            )
            reasons = "; ".join(sorted({reason for _, _, reason in group.obstacles}))
            obstacles.append(Obstacle(names, operators, reasons))
        elif set(group.producers) <= set(unscored):
            reason = "no output that accuracy is measured on depends on it"
            obstacles.append(Obstacle(tuple(group.producers), "output", reason))
        elif len(distinct) < 2:
            reason = "all its channels must be cut together, so nothing would remain"
            obstacles.append(Obstacle(tuple(group.producers), _tie(group, module), reason))
        else:
            free.append((distinct, group))
    return free, obstacles


def _tie(group: CoupledChannels, module: nn.Module) -> str:
    """Name what ties all channels of a group to each other."""
    layers = [module.get_submodule(name) for name in [*group.producers, *group.consumers]]
    if any(isinstance(layer, CONVOLUTIONS) and layer.groups > 1 for layer in layers):
        return "grouped convolution"
    return "single channel" if group.channels == 1 else "broadcast"


def _united(first: CoupledChannels, second: CoupledChannels) -> CoupledChannels:
    return CoupledChannels(
        channels=first.channels,
        producers=list(dict.fromkeys([*first.producers, *second.producers])),
        consumers=list(dict.fromkeys([*first.consumers, *second.consumers])),
        obstacles=[*first.obstacles, *second.obstacles],
        operators=first.operators | second.operators,
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
            size = _shortcut_inputs(module, name)
        else:
            size = tensors[name].shape[axis]
        entries = np.full(size, total, dtype=np.int64)
        inside = local < size  # a grouped convolution stores its first group's inputs only
        entries[local[inside]] = numbers[atoms[inside]]
        if (entries != total).any():
            axes[name, int(axis)] = torch.from_numpy(entries)
    return ChannelPlan(tuple(len(atoms) for atoms, _ in candidates), axes, dict(norm_after))


def _shortcut_inputs(module: nn.Module, source: str) -> int:
    shortcut = module.get_submodule(source.rpartition(".")[0])
    assert isinstance(shortcut, ZeroPadShortcut)
    return shortcut.in_channels
