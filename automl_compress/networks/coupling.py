"""Which tensor entries must be cut together: Torch-Pruning's analysis, behind one adapter.

Torch-Pruning (Fang et al., CVPR 2023) finds the coupled layers from one autograd trace. It is
asked once for each network; what it answers becomes plain index arrays, and nothing of it is
used afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.networks.shortcut import ZeroPadShortcut

TensorAxis = tuple[str, int]  # state-dict name, axis
SOURCE_VALUES = (
    -1
)  # the "axis" of a shortcut's source map: its values name channels, not its places

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class CoupledChannels:
    """One group as the analyser sees it: entry k of `members` follows root channel k.

    members: for each tensor axis the local index of every root channel, as (root, local)
        pairs; a channel before a flattening has several.
    obstacles: why the group cannot be cut, as (layer, operator, reason); empty if it can.
    """

    channels: int
    members: dict[TensorAxis, list[tuple[int, int]]] = field(default_factory=dict)
    producers: list[str] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)
    obstacles: list[tuple[str, str, str]] = field(default_factory=list)


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
        with torch.enable_grad():
            dependencies.build_dependency(
                module,
                example_inputs=example.requires_grad_(),
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
    groups = tuple(
        _read_group(dependencies, group, names)
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


def _read_group(dependencies: Any, group: Any, names: dict[Any, str]) -> CoupledChannels:
    coupled = CoupledChannels(channels=len(group[0].idxs))
    for item in group:
        member, is_output = (
            item.dep.target.module,
            dependencies.is_out_channel_pruning_fn(item.dep.handler),
        )
        name = names.get(member)
        is_last = is_output and not item.dep.target.outputs
        if is_last or type(member).__name__ == "_OutputOp":
            coupled.obstacles.append((name or "", "output", "it carries the network's output"))
        if name is None:
            continue  # an operator without tensors: it moves channels, it stores none
        is_input_only = isinstance(member, (*CONVOLUTIONS, nn.Linear)) and not is_output
        if isinstance(member, (*CONVOLUTIONS, nn.Linear)):
            is_depthwise = _is_depthwise(member)
            listing = coupled.consumers if is_input_only and not is_depthwise else coupled.producers
            if name not in listing:
                listing.append(name)
        try:
            axes = list(_axes(member, name, is_output))
        except NotImplementedError:
            coupled.obstacles.append(
                (name, type(member).__name__, f"{type(member).__name__} cannot be cut yet")
            )
            continue
        roots = item.root_idxs
        for axis in axes:
            coupled.members.setdefault(axis, []).extend(zip(roots, item.idxs, strict=True))
    return coupled


def _is_depthwise(member: nn.Module) -> bool:
    return (
        isinstance(member, CONVOLUTIONS)
        and member.groups > 1
        and member.groups == member.in_channels == member.out_channels
    )


def _axes(member: Any, name: str, is_output: bool) -> Iterator[TensorAxis]:
    """Name the tensor axes of a module that follow its output or input channels."""
    if isinstance(member, nn.Parameter):
        sizes = [axis for axis, size in enumerate(member.shape) if size > 1]
        if sizes:
            yield name, sizes[-1]
    elif isinstance(member, (*CONVOLUTIONS, nn.Linear)):
        if is_output or _is_depthwise(member):
            yield f"{name}.weight", 0
            if member.bias is not None:
                yield f"{name}.bias", 0
        else:
            yield f"{name}.weight", 1
    elif isinstance(member, NORMS):
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            if getattr(member, tensor) is not None:
                yield f"{name}.{tensor}", 0
    elif isinstance(member, nn.PReLU):
        if member.weight.numel() > 1:
            yield f"{name}.weight", 0
    elif isinstance(member, ZeroPadShortcut):
        yield f"{name}.source", 0 if is_output else SOURCE_VALUES
    else:
        raise NotImplementedError(type(member).__name__)


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
    atoms = [labels[start:stop] for start, stop in zip(offsets[:-1], offsets[1:], strict=True)]
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
