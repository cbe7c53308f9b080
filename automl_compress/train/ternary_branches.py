"""Ternary weights that are trained as the sum of two binary ones: no threshold to set."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from automl_compress.compress.quantisers import Grid, QuantisedTensor
from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import ImageData
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.training import train

_THRESHOLD = 0.7  # of the mean magnitude, where training starts: Li and Liu 2016


class TernaryBranches(nn.Module):
    """Gives a layer alpha * (sign(first) + sign(second)), whose values are -2, 0 and 2 alpha.

    alpha, one for each output channel, is half the mean magnitude of both branches' weights, and
    shared by them, or the sum would have four values. Gradients pass straight through the signs
    where a weight is within -1 and 1.

    Source: Xu et al., "Soft Threshold Ternary Networks", IJCAI 2020. Ours starts from a trained
    weight, so that small ones begin as zero.
    """

    def __init__(self, weight: Tensor) -> None:
        """Split a trained weight (outputs, ...) into two."""
        super().__init__()
        start = weight.detach().flatten(1)
        apart = _THRESHOLD * start.abs().mean(1, keepdim=True)
        self.first = nn.Parameter(((start + apart) / 2).view_as(weight))
        self.second = nn.Parameter(((start - apart) / 2).view_as(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the sum of the branches; the layer's own weight is not looked at."""
        signs = _passed_through(self.first) + _passed_through(self.second)
        return self.scale().view(-1, *[1] * (weight.dim() - 1)) * signs

    def scale(self) -> Tensor:
        """Return alpha, (outputs,)."""
        magnitudes = self.first.abs() + self.second.abs()
        return magnitudes.flatten(1).mean(1) / 2

    @torch.no_grad()
    def merged(self) -> QuantisedTensor:
        """Return the sum as two-bit codes."""
        codes = (_signs(self.first) + _signs(self.second)) / 2
        grid = Grid("linear", 2, 2 * self.scale()[:, None], axis=0)
        return QuantisedTensor(codes.to(torch.int32), grid)


def train_ternary(
    module: nn.Module,
    layers: Sequence[str],
    data: ImageData,
    config: TrainingConfig,
    *,
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, QuantisedTensor]:
    """Train layers in place so that their weights are ternary.

    Args:
        module: trained; ends in evaluation mode, with the weights that are returned.
        layers: module paths of convolutions and linear layers; the paper leaves out the first
            and the last layer, and 1x1 shortcuts.
        data: its train split and its augmentation are used.
        config: how.
        teacher: a network to learn from, as in `train`.
        distillation: how to learn from it.
        progress: called after every batch; what it raises ends the training.

    Returns:
        Codes and scales by module path, for `pack`.

    Raises:
        InvalidInput: a name is no layer with a weight, or the loss is no longer finite.
    """
    members = dict(module.named_modules())
    for name in layers:
        if getattr(members.get(name), "weight", None) is None:
            raise InvalidInput(f"the network has no layer {name!r} with a weight; give its own")
    for name in layers:
        layer: Any = members[name]
        layer.weight.requires_grad_(False)
        branches = TernaryBranches(layer.weight)
        parametrize.register_parametrization(layer, "weight", branches, unsafe=True)
    trained: dict[str, QuantisedTensor] = {}
    try:
        train(module, data, config, teacher=teacher, distillation=distillation, progress=progress)
    finally:
        for name in layers:
            trained[name] = _settle(members[name])
    return trained


def _signs(weight: Tensor) -> Tensor:
    return torch.where(weight < 0, -1.0, 1.0)


def _passed_through(weight: Tensor) -> Tensor:
    clipped = weight.clamp(-1.0, 1.0)
    return _signs(weight) + (clipped - clipped.detach())  # in this order exactly a sign


@torch.no_grad()
def _settle(layer: Any) -> QuantisedTensor:
    merged: QuantisedTensor = layer.parametrizations.weight[0].merged()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    layer.weight.copy_(merged.dequantise())
    layer.weight.requires_grad_(True)
    return merged
