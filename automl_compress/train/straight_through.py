"""Sparse, quantised weights and rounded inputs through which gradients pass straight."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.layer_weights import compressed_weights, sparsified
from automl_compress.compress.quantised_network import norm_scale_and_shift
from automl_compress.compress.quantisers import Grid
from automl_compress.compress.quantisers.grid import nearest_power_codes, power_levels
from automl_compress.core import LayerChoice
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.entering import entered


class StraightThrough(nn.Module):
    """Gives a layer its compressed weights; their gradients reach the float ones as they are."""

    def __init__(self, layer: Any, norm: Any, choice: LayerChoice) -> None:
        """Decide which weights are zero.

        Args:
            layer: with its float weight.
            norm: that alone follows it, or None.
            choice: what the layer becomes.
        """
        super().__init__()
        self._choice = replace(choice, sparsity=0.0)
        self._norm = (norm,)  # in a tuple, or it would become a part of this module
        folded = as_folded(layer.weight.detach(), norm)
        self._kept = sparsified(folded, choice.sparsity) != 0 if choice.sparsity else None

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
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


class ScaledWeights(StraightThrough):
    """Gives a layer weights on a grid that is fitted once; its scales stay, or are learned.

    Weights beyond the grid's end get no gradient. Of learned scales, one for each output channel
    or one for the layer, the gradient is `on_scale`'s, made smaller by sqrt(weights of a scale *
    highest code), so that scales move no faster than weights.

    Source: Esser et al., "Learned step size quantization", ICLR 2020, equation 3 and section 2.2.
    There a step starts at 2 <|w|> / sqrt(highest code), here where the quantiser put it.
    """

    def __init__(self, layer: Any, norm: Any, choice: LayerChoice, *, is_learned: bool) -> None:
        """Fit the grid, as `StraightThrough` does in every step.

        Raises:
            InvalidInput: the choice's grid has no scales, but codebooks.
        """
        super().__init__(layer, norm, choice)
        weight = self._as_on_grid(self.masked(layer.weight.detach()))
        fitted = compressed_weights(weight, self._choice).quantised
        if fitted is None or fitted.grid.form == "codebook":
            raise InvalidInput(
                f"layer {choice.layer!r} is to have {choice.weight_bits} bits by the quantiser "
                f"{choice.quantiser!r}, which has no scales that could stay or be learned; train "
                "with scales fitted in each step"
            )
        self._grid = fitted.grid
        shape = (-1, *[1] * (weight.dim() - 1)) if self._grid.axis == 0 else ()
        # One scale of folded weights is learned in units of the norm's, or its steps would be too
        # small beside those of the weights, which are not folded, or too large.
        folding = self._norm_scale(weight)
        self._unit = 1.0 if folding is None else float(folding.square().mean().sqrt()) or 1.0
        scale = self._grid.values.view(shape) / self._unit
        self.scale = nn.Parameter(scale, requires_grad=is_learned)
        self._share = (weight.numel() / scale.numel() * self._grid.highest) ** -0.5

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
        masked = self.masked(weight)
        scale = _with_gradient(self.scale.abs(), self._share) * self._unit
        norm_scale = self._norm_scale(weight)
        if norm_scale is None:
            return on_scale(masked, scale, self._grid)
        values = on_scale(masked * norm_scale, scale, self._grid) / norm_scale
        return torch.where(norm_scale == 0, masked, values)

    @torch.no_grad()
    def grid(self, weight: Tensor) -> Grid:
        """Return the grid as it is now, of the weight with the norm folded in."""
        scales = self.scale.abs() * self._unit
        if self._grid.axis == 0:
            folding = _scale_of(self._norm[0], weight)
            scales = scales if folding is None else scales * folding.abs()
            scales = torch.where(scales == 0, 1.0, scales)  # of a channel that is switched off
        return replace(self._grid, values=scales.detach().reshape(-1, 1).float().cpu().clone())

    @torch.no_grad()
    def _norm_scale(self, weight: Tensor) -> Tensor | None:
        """Return the norm's scale, a constant, where one grid is of folded weights; else None."""
        return None if self._grid.axis == 0 else _scale_of(self._norm[0], weight)

    def _as_on_grid(self, weight: Tensor) -> Tensor:
        is_one = self._choice.weight_scales == "tensor"
        return as_folded(weight, self._norm[0]) if is_one else weight


class LearnedInputs:
    """A forward pre-hook that puts a layer's input on a grid whose scale the layer learns.

    The scale is a parameter of the layer as long as the hook is there; its gradient is made
    smaller by sqrt(entries of one input * highest code), as that of `ScaledWeights`.
    """

    def __init__(self, layer: nn.Module, grid: Grid) -> None:
        """Register the scale and the hook on the layer."""
        self._layer, self._grid = layer, grid
        scale = grid.values.reshape(()).clone().to(next(layer.parameters()).device)
        layer.register_parameter("input_scale", nn.Parameter(scale))
        self._handle = layer.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, layer: nn.Module, arguments: Any, keywords: Any) -> Any:
        """Round what enters the layer."""
        x = entered(arguments, keywords)
        share = (x[0].numel() * self._grid.highest) ** -0.5
        scale = _with_gradient(layer.get_parameter("input_scale").abs(), share)
        return (on_scale(x, scale, self._grid),), {}

    def remove(self) -> Grid:
        """Take the scale and the hook from the layer; return the grid as learned."""
        self._handle.remove()
        scale = self._layer.get_parameter("input_scale").detach().abs()
        del self._layer._parameters["input_scale"]
        return replace(self._grid, values=scale.reshape(1, 1).float().cpu().clone())


def on_scale(x: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """Put entries on scale * the grid's levels, with gradients for both.

    An entry passes its gradient on unless it lies beyond the grid's end. The scale's is, for each
    entry, level - x / scale within the grid and the outermost level beyond it.

    Args:
        x: floating point.
        scale: above 0; of a shape that multiplies x.
        grid: of any form but `codebook`; its own scales are not looked at.

    Source: Esser et al., "Learned step size quantization", ICLR 2020, equations 1 to 3; here for
    levels of any spacing.
    """
    ratios = x / scale
    has_units = grid.form == "linear"
    clipped = ratios.clamp(*((grid.lowest, grid.highest) if has_units else (-1, 1)))
    with torch.no_grad():
        if has_units:
            levels = clipped.round()
        elif grid.form == "sign":
            levels = torch.where(ratios < 0, -1.0, 1.0)
        else:
            codes = nearest_power_codes(ratios, grid.highest)
            levels = codes.sign() * power_levels(grid.highest).to(ratios)[codes.abs().long()]
        moved = levels - clipped
    return scale * (clipped + moved)


def _with_gradient(scale: Tensor, share: float) -> Tensor:
    """Return the scale, of whose gradient only a share arrives."""
    return scale.detach() + (scale - scale.detach()) * share


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
