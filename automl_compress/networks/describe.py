"""Writing down a traced network as a `LayerGraph`: layers, groups, stored tensors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.core import ChannelGroup, Layer, LayerGraph, Obstacle, StoredTensor, Width
from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.coupling import CONVOLUTIONS, TRANSPOSED, CoupledChannels
from automl_compress.networks.entering import entered
from automl_compress.networks.outputs import listed, output_shapes
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.shortcut import ZeroPadShortcut

_MULTIPLYING = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


@dataclass(frozen=True, slots=True)
class Use:
    """What one forward pass showed of a module."""

    output_size: tuple[int, ...]
    calls: int
    positions: int  # where its weight is multiplied, over all calls


def record_uses(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Use]:
    """Run once and note each module's output size and number of calls, in order of first use.

    Raises:
        ModelInvalid: the network does not return one tensor, and none is selected.
    """
    uses: dict[str, Use] = {}
    names = {each: name for name, each in module.named_modules()}

    def record(member: nn.Module, arguments: Any, keywords: Any, output: object) -> None:
        if isinstance(member, ZeroPadShortcut):  # one that was cut does not know its inputs
            member.in_channels = entered(arguments, keywords).shape[1]
        if not isinstance(output, Tensor):
            return
        # Linear layers act on the last axis, convolutions on the second.
        size = tuple(output.shape[1:-1] if isinstance(member, nn.Linear) else output.shape[2:])
        # A transposed convolution multiplies at each position of its input.
        is_transposed = isinstance(member, TRANSPOSED)
        counted = entered(arguments, keywords).shape[2:] if is_transposed else size
        before = uses.get(names[member], Use(size, 0, 0))
        uses[names[member]] = Use(
            before.output_size, before.calls + 1, before.positions + math.prod(counted)
        )

    hooks = [
        each.register_forward_hook(record, with_kwargs=True)
        for each in names
        if isinstance(each, _MULTIPLYING) or not list(each.children())
    ]
    try:
        with torch.no_grad():
            output = module(torch.zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    _check_output(output, module, input_shape)
    return uses


def logit_count(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return how many classes a network tells apart.

    Args:
        module: in evaluation mode; its output is one tensor of logits (B, classes).
        input_shape: of one image.

    Raises:
        ModelInvalid: it does not return one tensor, and none is selected.
    """
    with torch.inference_mode():
        output = module(torch.zeros(1, *input_shape))
    _check_output(output, module, input_shape)
    return output.shape[-1]


def _check_output(output: object, module: nn.Module, input_shape: tuple[int, ...]) -> None:
    if not isinstance(output, Tensor):
        raise ModelInvalid(
            f"the network returns a {type(output).__name__}; "
            f"{listed(output_shapes(module, input_shape))}: say with select_output which one "
            "accuracy is measured on"
        )


def describe(
    module: nn.Module,
    plan: ChannelPlan,
    groups: Sequence[CoupledChannels],
    data_flow: Sequence[tuple[str, str]],
    uses: Mapping[str, Use],
    obstacles: tuple[Obstacle, ...],
    input_shape: tuple[int, ...],
    fingerprint: str,
    unscored: tuple[str, ...] = (),
) -> LayerGraph:
    """Describe a traced network.

    Args:
        module: the network.
        plan: how its channels are cut; one entry for each of `groups`.
        groups: the coupled channels that can be cut.
        data_flow: (source, target) module paths.
        uses: what a forward pass showed of each module, in the order of first use.
        obstacles: what cannot be cut.
        input_shape: of one example.
        fingerprint: of the structure.
        unscored: paths of modules that the scored output does not depend on.

    Raises:
        ModelInvalid: no layer has weights.
    """
    order = {name: place for place, name in enumerate(uses)}
    decisions = tuple(
        _group(channels, group, order)
        for channels, group in zip(plan.channels, groups, strict=True)
    )
    layers = tuple(
        _layer(name, module.get_submodule(name), use, decisions)
        for name, use in uses.items()
        if isinstance(getattr(module.get_submodule(name), "weight", None), Tensor)
    )
    if not layers:
        raise ModelInvalid("the network has no layer with weights; there is nothing to compress")
    place = {layer.name: index for index, layer in enumerate(layers)}
    edges = {
        (place[source], place[target])
        for source, target in data_flow
        if source in place and target in place
    }
    return LayerGraph(
        input_shape=tuple(input_shape),
        layers=layers,
        edges=tuple(sorted(edges)),
        groups=decisions,
        tensors=tuple(_stored_tensors(module, plan, uses)),
        obstacles=obstacles,
        fingerprint=fingerprint,
        unscored=tuple(layer.name for layer in layers if layer.name in unscored),
    )


def _group(channels: int, group: CoupledChannels, order: Mapping[str, int]) -> ChannelGroup:
    producers = tuple(sorted(group.producers, key=lambda name: order.get(name, len(order))))
    consumers = tuple(sorted(group.consumers, key=lambda name: order.get(name, len(order))))
    return ChannelGroup(producers[0], channels, producers, consumers)


def _layer(name: str, member: Any, use: Use, groups: tuple[ChannelGroup, ...]) -> Layer:
    is_convolution, is_linear = isinstance(member, CONVOLUTIONS), isinstance(member, nn.Linear)
    shape = member.weight.shape or (1,)
    outputs, inputs = shape[0], shape[-1]
    if is_convolution:
        inputs, outputs = member.in_channels, member.out_channels
    consuming = [i for i, group in enumerate(groups) if name in group.consumers]
    producing = [i for i, group in enumerate(groups) if name in group.producers]
    return Layer(
        name=name,
        kind="convolution" if is_convolution else "linear" if is_linear else "other",
        operator=type(member).__name__,
        weight=f"{name}.weight" if name else "weight",
        kernel_size=tuple(member.kernel_size) if is_convolution else (),
        stride=tuple(member.stride) if is_convolution else (),
        convolution_groups=member.groups if is_convolution else 1,
        in_channels=inputs,
        out_channels=outputs,
        output_size=use.output_size,
        calls=use.calls,
        input_group=consuming[0] if len(consuming) == 1 else None,
        output_group=producing[0] if len(producing) == 1 else None,
    )


def _stored_tensors(
    module: nn.Module, plan: ChannelPlan, uses: Mapping[str, Use]
) -> list[StoredTensor]:
    """List the state dict's tensors with the widths of their axes."""
    parameters = {name for name, _ in module.named_parameters()}
    stored: list[StoredTensor] = []
    for name, tensor in module.state_dict().items():
        path = name.rpartition(".")[0]
        multiplies = name.endswith("weight") and isinstance(
            module.get_submodule(path), _MULTIPLYING
        )
        stored.append(
            StoredTensor(
                name=name,
                axes=tuple(
                    _width(plan, name, axis, size) for axis, size in enumerate(tensor.shape)
                ),
                item_bytes=tensor.element_size(),
                is_parameter=name in parameters,
                positions=uses[path].positions if multiplies and path in uses else 0,
            )
        )
    return stored


def _width(plan: ChannelPlan, name: str, axis: int, size: int) -> Width:
    numbers = plan.axes.get((name, axis))
    if numbers is None:
        return Width(size)
    most = plan.entries_each((name, axis))[1]
    terms = tuple((int(group), int(most[group])) for group in most.nonzero()[0])
    return Width(int((numbers == plan.total).sum()), terms)
