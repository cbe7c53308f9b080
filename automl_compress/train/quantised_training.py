"""Quantisation-aware training: sparse, quantised weights and rounded inputs while it learns."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from automl_compress.compress.input_grids import round_inputs
from automl_compress.compress.layer_weights import compressed_weights, sparsified
from automl_compress.compress.quantised_network import norm_scale_and_shift
from automl_compress.compress.quantisers import Grid
from automl_compress.core import LayerChoice
from automl_compress.data.datasets import ImageData
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.report import TrainingReport
from automl_compress.train.training import train


def train_quantised(
    module: nn.Module,
    choices: Mapping[str, LayerChoice],
    grids: Mapping[str, Grid],
    norm_after: Mapping[str, str],
    data: ImageData,
    config: TrainingConfig,
    *,
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    progress: ProgressCallback | None = None,
) -> TrainingReport:
    """Train a cut float network in place so that it loses little when it is quantised afterwards.

    In every step each layer computes with its weights on their grids, fitted anew, and with its
    inputs on theirs, which stay fixed; gradients pass straight through both (Bengio et al., 2013;
    Jacob et al., CVPR 2018, section 3). Which weights are zero is decided before the first step.
    Norms are trained as they are: channels have grids of their own, so that folding a norm in
    afterwards changes no code. One grid for the layer is fitted to weights times the norm's scale.

    Args:
        module: the cut network with float weights; ends with float weights, in evaluation mode.
        choices: what becomes of layers, by module path.
        grids: of layer inputs, by module path.
        norm_after: the norm that alone follows a layer; weights are compared with its scale.
        data: its train split and its augmentation are used.
        config: how.
        teacher: a network to learn from, as in `train`.
        distillation: how to learn from it.
        progress: called after every batch; what it raises ends the training.

    Raises:
        InvalidInput: the loss is no longer finite, or a grid does not fit.
        DataInvalid: weights hold NaN or infinity.
    """
    members = dict(module.named_modules())
    changed = [name for name, choice in choices.items() if choice.changes_weights]
    for name in changed:
        layer: Any = members[name]
        norm = members[norm_after[name]] if name in norm_after else None
        compressed = _StraightThrough(layer, norm, choices[name])
        # Without the check of its result, which would run on a deep copy of the weight.
        parametrize.register_parametrization(layer, "weight", compressed, unsafe=True)
    undo = round_inputs(module, grids)
    try:
        return train(
            module, data, config, teacher=teacher, distillation=distillation, progress=progress
        )
    finally:
        for each in undo:
            each()
        for name in changed:
            _settle(members[name])


class _StraightThrough(nn.Module):
    """Gives a layer its compressed weights; their gradients reach the float ones as they are."""

    def __init__(self, layer: Any, norm: Any, choice: LayerChoice) -> None:
        super().__init__()
        self._choice = replace(choice, sparsity=0.0)
        self._norm = (norm,)  # in a tuple, or it would become a part of this module
        folded = as_folded(layer.weight.detach(), norm)
        self._kept = sparsified(folded, choice.sparsity) != 0 if choice.sparsity else None

    def forward(self, weight: Tensor) -> Tensor:
        masked = self.masked(weight)
        with torch.no_grad():
            target = compressed_before(masked.detach(), self._norm[0], self._choice)
        return masked + (target - masked).detach()

    def masked(self, weight: Tensor) -> Tensor:
        """Return the float weight with its zeros."""
        if self._kept is None:
            return weight
        # Not a product, which would leave negative zeros: their bytes are not all zero.
        return torch.where(self._kept, weight, 0.0)


@torch.no_grad()
def as_folded(weight: Tensor, norm: Any) -> Tensor:
    """Return a layer's weight times the scale of the norm behind it, or of None."""
    scale = _scale_of(norm, weight)
    return weight if scale is None else weight * scale


@torch.no_grad()
def compressed_before(weight: Tensor, norm: Any, choice: LayerChoice) -> Tensor:
    """Return what a layer multiplies with while the norm behind it is not folded in.

    Args:
        weight: the layer's, float.
        norm: that alone follows it, or None.
        choice: what the layer becomes.

    Raises:
        DataInvalid: the weight is empty or holds NaN or infinity.
    """
    scale = _scale_of(norm, weight) if choice.weight_scales == "tensor" else None
    if scale is None:
        return compressed_weights(weight, choice).values
    values = compressed_weights(weight * scale, choice).values
    return torch.where(scale == 0, weight, values / scale)


def _scale_of(norm: Any, weight: Tensor) -> Tensor | None:
    """Return a norm's scale, of a shape that multiplies the weight; None where it has none."""
    if norm is None or norm.weight is None or norm.running_mean is None:
        return None
    parts = ("running_mean", "running_var", "weight", "bias")
    scale, _ = norm_scale_and_shift(norm, {part: getattr(norm, part) for part in parts})
    return scale.view(-1, *[1] * (weight.dim() - 1))


@torch.no_grad()
def _settle(layer: Any) -> None:
    """Leave the layer with its float weights, what is zero being zero."""
    compressed: Any = layer.parametrizations.weight[0]
    values = compressed.masked(layer.parametrizations.weight.original.detach()).clone()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    layer.weight.copy_(values)
    # The weight is registered anew; back in front, files list the tensors in their old order.
    for name in [each for each in layer._parameters if each != "weight"]:
        layer._parameters[name] = layer._parameters.pop(name)
