"""What reaches a network's layers: samples to calibrate on, and second moments."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.compress.criteria import Batches
from automl_compress.core.errors import DataInvalid, InvalidInput
from automl_compress.networks.entering import Visit, visiting

_SAMPLES = 2**16  # kept of each layer's inputs


def input_samples(
    module: nn.Module, layers: Sequence[str], batches: Batches, samples: int = _SAMPLES
) -> dict[str, Tensor]:
    """Keep a part of what each layer receives, evenly spread over images and places.

    Args:
        module: in evaluation mode; its device is where the batches must be.
        layers: module paths of convolutions and linear layers.
        batches: labelled calibration images; iterated once.
        samples: entries kept of each batch and layer, at most; the smallest and largest entry
            are always among them.

    Returns:
        For each layer float32 (n,), on the module's device.

    Raises:
        InvalidInput: a layer does not exist or was never reached, or images have a shape that
            the network does not take.
        DataInvalid: there is no batch, or an input holds NaN or infinity.
    """
    found: dict[str, list[Tensor]] = {}

    def keep(name: str, layer: nn.Module, x: Tensor) -> None:
        flat = x.detach().float().reshape(-1)
        _check_finite(flat, name)
        step = -(-len(flat) // samples)
        ends = torch.stack(torch.aminmax(flat))
        found.setdefault(name, []).append(torch.cat([flat[::step], ends]))

    _run(module, layers, batches, keep)
    _check_reached(layers, found)
    return {name: torch.cat(parts) for name, parts in found.items()}


def input_moments(module: nn.Module, layers: Sequence[str], batches: Batches) -> dict[str, Tensor]:
    """Sum x x^T over all patches that each layer multiplies with its weights.

    Args:
        module: in evaluation mode; its device is where the batches must be.
        layers: module paths of two-dimensional convolutions and linear layers.
        batches: labelled calibration images; iterated once.

    Returns:
        For each layer float64 (groups, D, D), where D is the number of weights of one output
        channel, in the order in which the weight stores them.

    Raises:
        InvalidInput: as `input_samples`, or a layer is of another kind.
        DataInvalid: there is no batch, or an input holds NaN or infinity.
    """
    found: dict[str, Tensor] = {}

    def add(name: str, layer: nn.Module, x: Tensor) -> None:
        patches = _patches(name, layer, x.detach().double())
        _check_finite(patches, name)
        found[name] = found.get(name, torch.zeros((), device=x.device)) + torch.einsum(
            "gdn,gen->gde", patches, patches
        )

    _run(module, layers, batches, add)
    _check_reached(layers, found)
    return found


def _patches(name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """Return what one output channel's weights are multiplied with, (groups, D, patches)."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, layer.in_features).transpose(1, 2)
    if (
        not isinstance(layer, nn.Conv2d)
        or layer.padding_mode != "zeros"
        or isinstance(layer.padding, str)
    ):
        raise InvalidInput(
            f"{name} is a {type(layer).__name__} whose patches cannot be listed; give linear "
            "layers and two-dimensional convolutions with zero padding in numbers"
        )
    columns = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    batch, _, places = columns.shape
    grouped = columns.reshape(batch, layer.groups, -1, places)
    return grouped.permute(1, 2, 0, 3).reshape(layer.groups, -1, batch * places)


def _run(module: nn.Module, layers: Sequence[str], batches: Batches, visit: Visit) -> None:
    members = dict(module.named_modules())
    missing = [name for name in layers if name not in members]
    if missing:
        raise InvalidInput(
            f"the network has no layer {missing[0]!r}; give names of its convolutions and linear "
            "layers"
        )
    count = 0
    with visiting({name: members[name] for name in layers}, visit), torch.no_grad():
        for images, _ in batches:
            count += 1
            _forward(module, images)
    if not count:
        raise DataInvalid("there are no calibration images; give one batch at least")


def _forward(module: nn.Module, images: Tensor) -> None:
    try:
        module(images)
    except RuntimeError as error:
        raise InvalidInput(
            f"the network does not take calibration images of shape {tuple(images.shape)}: "
            f"{error}; give images as it was traced with"
        ) from error


def _check_finite(entries: Tensor, name: str) -> None:
    if not entries.numel() or not bool(torch.isfinite(entries).all()):
        raise DataInvalid(
            f"what reaches {name} is empty or holds NaN or infinity; check the calibration images "
            "and the network's weights"
        )


def _check_reached(layers: Sequence[str], found: dict[str, Any]) -> None:
    unreached = [name for name in layers if name not in found]
    if unreached:
        raise InvalidInput(f"no forward pass reaches {unreached[0]!r}; leave it out")
