"""Proving by cutting: a group is right if the cut network computes what the masked one does.

What can be cut must not depend on what the network has learned, and a network that is trained
badly, or not at all, hides wrong cuts behind dead activations. So its structure is proved with
random weights under which every layer's output varies.
"""

import math
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.coupling import NORMS
from automl_compress.networks.outputs import every_output
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.surgery import cut_module, masked_module, with_tensors

PROBE_TOLERANCE = 1e-3  # of the largest output; couplings that were missed differ by far more
_TORCH = str(Path(torch.__file__).parent)

Refusal = tuple[str, str]  # (operator, reason); the operator is empty where none is to blame


def refused_groups(
    module: nn.Module, plan: ChannelPlan, input_shape: tuple[int, ...]
) -> dict[int, Refusal]:
    """Cut all groups together; where that fails, add one after the other.

    Returns:
        By group index, why it cannot be cut. All other groups can be cut together.
    """
    groups = range(len(plan.channels))
    if not groups:
        return {}
    lively = lively_twin(module, input_shape)
    uneven = _uneven_groups(plan)
    probes = [[draw(channels) for channels in plan.channels] for draw in (_but_first, _scattered)]
    if not uneven and not _refusal(lively, plan, probes, input_shape):
        return {}
    refusals: dict[int, Refusal] = {}
    whole = [torch.arange(channels) for channels in plan.channels]
    proved = [list(whole) for _ in probes]
    for group in groups:
        if group in uneven:
            refusals[group] = "slice", "some of its channels reach other layers than the rest do"
            continue
        attempt = [
            [*kept[:group], probe[group], *whole[group + 1 :]]
            for kept, probe in zip(proved, probes, strict=True)
        ]
        refusal = _refusal(lively, plan, attempt, input_shape)
        if refusal is None:
            proved = attempt
        else:
            refusals[group] = refusal
    return refusals


def lively_twin(module: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """Return a copy with random weights, its norms set to the statistics of random images."""
    generator = torch.Generator().manual_seed(0)
    drawn = {
        name: _drawn(name, parameter, generator) for name, parameter in module.named_parameters()
    }
    twin = with_tensors(module, drawn)
    norms: list[Any] = [member for member in twin.modules() if isinstance(member, NORMS)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        twin(torch.randn(4, *input_shape, generator=generator))
    for norm in norms:
        norm.eval()
    return twin


def _drawn(name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    if not parameter.is_floating_point():
        return parameter
    if parameter.dim() > 1:  # He et al. 2015: keeps the variance through rectified layers
        spread = math.sqrt(2 / parameter[0].numel())
        return torch.randn(parameter.shape, generator=generator) * spread
    low, high = (-0.2, 0.5) if name.endswith("bias") else (0.5, 1.5)
    return torch.empty(parameter.shape).uniform_(low, high, generator=generator)


def _but_first(channels: int) -> Tensor:
    """Keep all but the first: an odd count, and nothing stays in its place."""
    return torch.arange(1, channels)


def _scattered(channels: int) -> Tensor:
    """Keep the last channel and about half of the others."""
    generator = torch.Generator().manual_seed(channels)
    stays = torch.rand(channels, generator=generator) < 0.5
    stays[-1] = True
    return stays.nonzero().squeeze(1)


def _uneven_groups(plan: ChannelPlan) -> set[int]:
    """Find groups whose channels differ in what they cut; their cost depends on which go."""
    uneven: set[int] = set()
    for axis in plan.axes:
        least, most = plan.entries_each(axis)
        uneven.update((least != most).nonzero()[0].tolist())
    return uneven


def _refusal(
    module: nn.Module,
    plan: ChannelPlan,
    probes: Sequence[Sequence[Tensor]],
    input_shape: tuple[int, ...],
) -> Refusal | None:
    """Return why one of these cuts is not the same as masking; None if all are."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *input_shape, generator=generator)
    for kept in probes:
        with torch.no_grad():
            masked = every_output(masked_module(module, plan, kept), images)
            try:
                cut = every_output(cut_module(module, plan, kept), images)
            except ModelInvalid as error:  # of a network that names its own failing node
                return "", f"the forward pass fixes a channel count: {error}"
            except Exception as error:  # whatever the user's forward pass raises on cut tensors
                return _place(error), f"the forward pass fixes a channel count: {error}"
        for found, expected in zip(cut, masked, strict=True):
            if found.shape != expected.shape:
                return "output", "it carries the network's output"
            if not _agree(found, expected):
                return "", "cutting changes what the network computes: channels are mixed unseen"
    return None


def _agree(found: Tensor, expected: Tensor) -> bool:
    difference, largest = float((found - expected).abs().max()), float(expected.abs().max())
    return difference <= PROBE_TOLERANCE * largest  # not a number fails, too


def _place(error: Exception) -> str:
    """Name the last line of the network's own code in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(_TORCH) and frame.name != "_refusal"
    ]
    frame = own[-1] if own else frames[-1]
    return f"{frame.line or frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
