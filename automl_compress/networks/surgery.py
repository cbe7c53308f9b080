"""Putting cut tensors into a module, and the masked twin that proves the cut right."""

import copy
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.shortcut import ZeroPadShortcut


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer by name, also those that state dicts leave out."""
    tensors = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return tensors | dict(module.named_buffers())


def with_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of the module that holds these tensors, its channel counts set to match.

    Args:
        module: stays as it is.
        tensors: by name; names that are not given keep the module's own tensors.
    """
    memo: dict[int, object] = {
        id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]
    }  # tensors are shared here and replaced below, not copied twice
    twin = copy.deepcopy(module, memo)
    made: dict[int, nn.Parameter] = {}  # a parameter that two modules share stays shared
    for path, member in twin.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in member.named_parameters(recurse=False):
            if id(parameter) not in made:
                value = _owned(tensors.get(prefix + name, parameter))
                made[id(parameter)] = nn.Parameter(value, parameter.requires_grad)
            setattr(member, name, made[id(parameter)])
        for name, buffer in member.named_buffers(recurse=False):
            setattr(member, name, _owned(tensors.get(prefix + name, buffer)))
        _match_channel_counts(member)
    return twin


def _owned(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


@singledispatch
def _match_channel_counts(member: nn.Module) -> None:
    """Set the counts that a module keeps beside its tensors."""


@_match_channel_counts.register(nn.Conv1d)
@_match_channel_counts.register(nn.Conv2d)
@_match_channel_counts.register(nn.Conv3d)
def _(member: Any) -> None:
    outputs, inputs = member.weight.shape[:2]
    if member.groups > 1 and member.groups == member.in_channels == member.out_channels:
        member.groups = outputs  # depthwise: the only kind whose group count is cut
    member.out_channels, member.in_channels = outputs, inputs * member.groups


@_match_channel_counts.register
def _(member: nn.Linear) -> None:
    member.out_features, member.in_features = member.weight.shape


@_match_channel_counts.register(nn.BatchNorm1d)
@_match_channel_counts.register(nn.BatchNorm2d)
@_match_channel_counts.register(nn.BatchNorm3d)
def _(member: Any) -> None:
    for tensor in (member.weight, member.running_mean):
        if tensor is not None:
            member.num_features = tensor.shape[0]


@_match_channel_counts.register
def _(member: nn.PReLU) -> None:
    member.num_parameters = member.weight.numel()


@_match_channel_counts.register
def _(member: ZeroPadShortcut) -> None:
    member.out_channels = member.source.shape[0]


def cut_module(module: nn.Module, plan: ChannelPlan, kept: Sequence[Tensor]) -> nn.Module:
    """Return the module with only these channels of each group, physically smaller."""
    return with_tensors(module, plan.cut(tensors_of(module), kept))


def masked_module(module: nn.Module, plan: ChannelPlan, kept: Sequence[Tensor]) -> nn.Module:
    """Return the module at full size with the removed channels set to zero everywhere.

    It computes what the cut network computes; tests and the intake compare the two.
    """
    mask = plan.mask(kept)
    tensors = {name: tensor.clone() for name, tensor in tensors_of(module).items()}
    for (name, axis), numbers in plan.axes.items():
        gone = (~mask[numbers]).nonzero().squeeze(1)
        if axis != SOURCE_VALUES:
            tensors[name] = _zero_entries(tensors[name], axis, gone, name)
        else:
            shown = tensors[name]
            shown[torch.isin(shown, gone)] = len(numbers)
    return with_tensors(module, tensors)


def _zero_entries(tensor: Tensor, axis: int, gone: Tensor, name: str) -> Tensor:
    # A shortcut's map has no zero: an output channel that is gone is masked by its consumers.
    return tensor if name.endswith(".source") else tensor.index_fill(axis, gone, 0)
