"""Which tensor entries must be cut together: Torch-Pruning's analysis, behind one adapter.

Torch-Pruning (Fang et al., CVPR 2023) finds the coupled layers from one autograd trace. It is
asked once for each network; what it answers becomes plain index arrays, and nothing of it is
used afterwards.
"""

import warnings
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.networks.outputs import every_output
from automl_compress.networks.shortcut import ZeroPadShortcut

TensorAxis = tuple[str, int]  # state-dict name, axis
# The "axis" of a shortcut's source map: its values name channels, not its places.
SOURCE_VALUES = -1

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Autograd's names of operators that treat each channel alone.
_CHANNELWISE = {
    "Add", "Sub", "Mul", "Div", "Neg", "Clamp", "Clone", "Mean", "AvgPool2D", "AdaptiveAvgPool2D",
    "MaxPool2DWithIndices", "Relu", "LeakyRelu", "Hardtanh", "Hardswish", "Hardsigmoid", "Sigmoid",
    "Silu", "Gelu", "Elu", "Tanh", "Softplus",
}  # fmt: skip


@dataclass
class CoupledChannels:
    """One group as the analyser sees it: entry k of `members` follows root channel k.

    members: for each tensor axis the local index of every root channel, as (root, local)
        pairs; a channel before a flattening has several.
    obstacles: why the group cannot be cut, as (layer, operator, reason); empty if it can.
    operators: what its channels pass through that stores no tensors.
    """

    channels: int
    members: dict[TensorAxis, list[tuple[int, int]]] = field(default_factory=dict)
    producers: list[str] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)
    obstacles: list[tuple[str, str, str]] = field(default_factory=list)
    operators: set[str] = field(default_factory=set)

    @property
    def unproved_operators(self) -> str:
        """The operators that may mix channels, in words."""
        return ", ".join(sorted(self.operators - _CHANNELWISE)) or "unknown"


@dataclass(frozen=True)
class Coupling:
    """All groups of a network, the norm that directly follows each convolution, data flow."""

    groups: tuple[CoupledChannels, ...]
    norm_after: dict[str, str]
    edges: tuple[tuple[str, str], ...]


def analyse_coupling(module: nn.Module, example: Tensor) -> Coupling:
    """Trace `module` on `example` (B, ...) and return its coupled channels.

    Raises:
        InvalidInput: Torch-Pruning is not installed.
        ModelInvalid: the forward pass fails, or nothing of it can be traced.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise InvalidInput(
            "tracing a network needs Torch-Pruning; pip install 'automl-compress[search]'"
        ) from error
    dependencies = torch_pruning.DependencyGraph()
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the forward pass, about running with gradients
            dependencies.build_dependency(
                module,
                example_inputs=example.requires_grad_(),
                forward_fn=every_output,  # pyright: ignore[reportArgumentType] - takes several
                customized_pruners={ZeroPadShortcut: _shortcut_pruner(torch_pruning)},
                verbose=False,
            )
    except Exception as error:  # whatever the user's forward pass raises
        raise ModelInvalid(
            f"the network cannot be traced on an input of shape {tuple(example.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    names = {each: name for name, each in module.named_modules()}
    names |= {each: name for name, each in module.named_parameters()}
    tensors = {name for name, _ in chain(module.named_parameters(), module.named_buffers())}
    groups = tuple(
        _read_group(dependencies, group, names, tensors)
        for group in dependencies.get_all_groups(root_module_types=[*CONVOLUTIONS, nn.Linear])
    )
    return Coupling(groups, _norm_after(dependencies, names), _edges(dependencies, names))


def _shortcut_pruner(torch_pruning: Any) -> Any:
    """Tell the analyser that a zero-pad shortcut does not couple its two sides."""

    class ShortcutPruner(torch_pruning.BasePruningFunc):
        def prune_out_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
            raise NotImplementedError("the analyser never cuts")

        def prune_in_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
            raise NotImplementedError("the analyser never cuts")

        def get_out_channels(self, layer: ZeroPadShortcut) -> int:
            return layer.out_channels

        def get_in_channels(self, layer: ZeroPadShortcut) -> int:
            return layer.in_channels

    return ShortcutPruner()


def _read_group(
    dependencies: Any, group: Any, names: dict[Any, str], tensors: set[str]
) -> CoupledChannels:
    coupled = CoupledChannels(channels=len(group[0].idxs))
    for item in group:
        target = item.dep.target
        is_output = dependencies.is_out_channel_pruning_fn(item.dep.handler)
        name = names.get(target.module)
        if type(target.module).__name__ == "_OutputOp" or (is_output and not target.outputs):
            coupled.obstacles.append((name or "", "output", "it carries the network's output"))
        if name is None:  # an operator without tensors: it moves channels, it stores none
            coupled.operators.add(_operator(target.module))
            continue
        _list_layer(coupled, target.module, name, is_output)
        axes, operator = _axes(target.module, name, is_output), type(target.module).__name__
        if axes is None:
            coupled.obstacles.append((name, operator, f"{operator} cannot be cut yet"))
        elif not tensors.issuperset(tensor for tensor, _ in axes):
            coupled.obstacles.append((name, operator, "it shares its weight with another layer"))
        else:
            for axis in axes:
                pairs = zip(item.root_idxs, item.idxs, strict=True)
                coupled.members.setdefault(axis, []).extend(pairs)
    return coupled


def _list_layer(coupled: CoupledChannels, member: nn.Module, name: str, is_output: bool) -> None:
    if not isinstance(member, (*CONVOLUTIONS, nn.Linear)):
        return
    is_producer = is_output or _is_depthwise(member)
    listing = coupled.producers if is_producer else coupled.consumers
    if name not in listing:
        listing.append(name)


def _operator(member: Any) -> str:
    """Name an operator as autograd does: Relu, Slice, ConstantPadNd ..."""
    recorded = str(getattr(member, "_grad_fn", "") or type(member).__name__)
    return recorded.partition("Backward")[0].strip("_").removesuffix("Op")


def _is_depthwise(member: nn.Module) -> bool:
    return (
        isinstance(member, CONVOLUTIONS)
        and member.groups > 1
        and member.groups == member.in_channels == member.out_channels
    )


@singledispatch
def _axes(member: object, name: str, is_output: bool) -> list[TensorAxis] | None:
    """Name the tensor axes of a module that follow its output or input channels.

    None for modules that we cannot cut.
    """
    return None


@_axes.register
def _(member: nn.Parameter, name: str, is_output: bool) -> list[TensorAxis]:
    # Torch-Pruning couples the last axis that is longer than 1.
    return [(name, axis) for axis, size in enumerate(member.shape) if size > 1][-1:]


@_axes.register(nn.Conv1d)
@_axes.register(nn.Conv2d)
@_axes.register(nn.Conv3d)
@_axes.register(nn.Linear)
def _(member: Any, name: str, is_output: bool) -> list[TensorAxis]:
    if not is_output and not _is_depthwise(member):
        return [(f"{name}.weight", 1)]
    return [(f"{name}.weight", 0)] + ([] if member.bias is None else [(f"{name}.bias", 0)])


@_axes.register(nn.BatchNorm1d)
@_axes.register(nn.BatchNorm2d)
@_axes.register(nn.BatchNorm3d)
def _(member: nn.Module, name: str, is_output: bool) -> list[TensorAxis]:
    tensors = ("weight", "bias", "running_mean", "running_var")
    return [(f"{name}.{each}", 0) for each in tensors if getattr(member, each) is not None]


@_axes.register
def _(member: nn.PReLU, name: str, is_output: bool) -> list[TensorAxis]:
    return [(f"{name}.weight", 0)] if member.weight.numel() > 1 else []


@_axes.register
def _(member: ZeroPadShortcut, name: str, is_output: bool) -> list[TensorAxis]:
    return [(f"{name}.source", 0 if is_output else SOURCE_VALUES)]


def _norm_after(dependencies: Any, names: dict[Any, str]) -> dict[str, str]:
    """Map each convolution whose output goes to one batch norm, and nowhere else, to it."""
    found: dict[str, str] = {}
    for member, node in dependencies.module2node.items():
        if not isinstance(member, (*CONVOLUTIONS, nn.Linear)) or len(node.outputs) != 1:
            continue
        follower = node.outputs[0]
        if isinstance(follower.module, NORMS) and len(follower.inputs) == 1:
            found[names[member]] = names[follower.module]
    return found


def _edges(dependencies: Any, names: dict[Any, str]) -> tuple[tuple[str, str], ...]:
    """Return the data flow between modules with names, across operators that have none."""
    edges: list[tuple[str, str]] = []
    for member, node in dependencies.module2node.items():
        if member not in names:
            continue
        seen, stack = set(), list(node.outputs)
        while stack:
            follower = stack.pop()
            if follower in seen:
                continue
            seen.add(follower)
            if follower.module in names:
                edges.append((names[member], names[follower.module]))
            else:
                stack.extend(follower.outputs)
    return tuple(edges)


def tie_convolution_groups(
    coupling: Coupling, module: nn.Module
) -> tuple[list[np.ndarray], dict[TensorAxis, tuple[np.ndarray, np.ndarray]]]:
    """Unite root channels that share an entry, or that lie alike in a grouped convolution.

    A convolution of G groups stays one only if each of them loses as many channels; we cut
    the same places in all of them, so that its weight remains one rectangular tensor.

    Returns:
        For each analysed group the atom (united channel) of each root channel; and for each
        tensor axis the pairs (local index, atom).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    offsets = np.cumsum([0, *(group.channels for group in coupling.groups)])
    first_root: dict[tuple[TensorAxis, int], int] = {}
    links: list[tuple[int, int]] = []
    entries: dict[TensorAxis, list[tuple[int, int]]] = {}
    for offset, group in zip(offsets[:-1], coupling.groups, strict=True):
        for axis, pairs in group.members.items():
            period = _tied_period(axis, module)
            for root, local in pairs:
                atom = int(offset) + root
                place = (axis, local % period if period else local)
                links.append((first_root.setdefault(place, atom), atom))
                entries.setdefault(axis, []).append((local, atom))
    rows, columns = np.array(links, dtype=np.int64).reshape(-1, 2).T
    total = int(offsets[-1])
    links_matrix = coo_array((np.ones(len(rows)), (rows, columns)), shape=(total, total))
    labels = connected_components(links_matrix, directed=False)[1]
    atoms = [labels[start:stop] for start, stop in pairwise(offsets)]
    placed = {
        axis: (
            np.array([local for local, _ in pairs], dtype=np.int64),
            labels[[root for _, root in pairs]],
        )
        for axis, pairs in entries.items()
    }
    return atoms, placed


def _tied_period(axis: TensorAxis, module: nn.Module) -> int | None:
    """Return the distance of tied channels along this axis; None where none are tied."""
    name, position = axis
    member = module.get_submodule(name.rpartition(".")[0]) if "." in name else None
    if not isinstance(member, CONVOLUTIONS) or member.groups == 1 or _is_depthwise(member):
        return None
    channels = member.out_channels if position == 0 else member.in_channels
    return channels // member.groups
