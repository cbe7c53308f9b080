"""A cut network whose layers become sparse and quantised: norms folded, weights on their grids."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.input_grids import round_inputs
from automl_compress.compress.layer_weights import compressed_weights, weights_on
from automl_compress.compress.quantisers import Grid, QuantisedTensor
from automl_compress.compress.quantisers.grid import GridForm
from automl_compress.core import LayerChoice
from automl_compress.core.layer_rows import LayerQuantisation


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A network that computes as its packed file does.

    module: in evaluation mode; float32 weights on their grids, inputs rounded by pre-hooks.
    codes: of the quantised weights, by state-dict name.
    neutral: tensors of folded norms that need not be stored, by state-dict name.
    folded: the norm that went into a layer, by layer.
    """

    module: nn.Module
    codes: Mapping[str, QuantisedTensor]
    neutral: frozenset[str]
    folded: Mapping[str, str]


def quantise_network(
    module: nn.Module,
    choices: Mapping[str, LayerChoice],
    norm_after: Mapping[str, str],
    grids: Mapping[str, Grid],
    weight_grids: Mapping[str, Grid] | None = None,
) -> QuantisedNetwork:
    """Return a copy of a cut network with its layers as a policy chose them.

    A norm behind a sparse or quantised layer is folded into it: the layer's weights take its
    scale, its bias keeps the shift, and its other tensors become those of no normalisation. So
    the copy's state dict still fits the network's own class.

    Args:
        module: the cut network; stays as it is.
        choices: by layer.
        norm_after: the norm that alone follows a layer, by layer.
        grids: of inputs that are rounded, by layer.
        weight_grids: of weights with norms folded in, by layer; others are fitted.

    Raises:
        DataInvalid: weights are empty or hold NaN or infinity.
        InvalidInput: a grid does not fit.
    """
    twin = copy.deepcopy(module).eval()
    codes: dict[str, QuantisedTensor] = {}
    neutral: set[str] = set()
    folded: dict[str, str] = {}
    for name, choice in choices.items():
        if not choice.changes_weights:
            continue
        layer: Any = twin.get_submodule(name)
        norm_name = norm_after.get(name)
        if norm_name is not None and _can_fold(norm := twin.get_submodule(norm_name)):
            neutral |= _fold(layer, norm, norm_name)
            folded[name] = norm_name
        grid = (weight_grids or {}).get(name)
        if grid is None:
            weights = compressed_weights(layer.weight.detach(), choice)
        else:
            weights = weights_on(grid, layer.weight.detach(), choice)
        with torch.no_grad():
            layer.weight.copy_(weights.values)
        if weights.quantised is not None:
            codes[f"{name}.weight"] = weights.quantised
    round_inputs(twin, grids)
    return QuantisedNetwork(twin, codes, frozenset(neutral), folded)


def quantisation_rows(
    choices: Mapping[str, LayerChoice], folded: Mapping[str, str], grids: Mapping[str, Grid]
) -> dict[str, LayerQuantisation]:
    """Write down, by layer, what `quantise_network` did: its choices, folded norms and grids."""
    rows: dict[str, LayerQuantisation] = {}
    for name, choice in choices.items():
        grid = grids.get(name)
        rows[name] = LayerQuantisation(
            choice,
            folded.get(name),
            None if grid is None else float(grid.values),
            grid is not None and grid.is_signed,
        )
    return rows


def input_grid(row: LayerQuantisation) -> Grid | None:
    """Return the grid that a row gives its layer's inputs; None where they stay float."""
    if row.input_scale is None:
        return None
    bits = row.choice.activation_bits
    form: GridForm = "sign" if bits == 1 and row.has_signed_inputs else "linear"
    values = torch.full((1, 1), row.input_scale)
    return Grid(form, bits, values, None, is_signed=row.has_signed_inputs)


def norm_scale_and_shift(norm: Any, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return what a batch norm multiplies with and adds, both float32 (channels,).

    Args:
        norm: the module, for its epsilon.
        tensors: running_mean, running_var, and weight and bias where there are any.
    """
    scale = torch.rsqrt(tensors["running_var"] + norm.eps)
    if "weight" in tensors:
        scale = scale * tensors["weight"]
    shift = -tensors["running_mean"] * scale
    if "bias" in tensors:
        shift = shift + tensors["bias"]
    return scale, shift


def _can_fold(norm: Any) -> bool:
    """Say whether a norm has its own statistics, and a bias that could keep the shift."""
    return norm.weight is not None and norm.running_mean is not None


@torch.no_grad()
def _fold(layer: Any, norm: Any, name: str) -> set[str]:
    """Fold a norm into the layer before it, in place; name what is neutral afterwards."""
    parts = ("running_mean", "running_var", "weight", "bias")
    scale, shift = norm_scale_and_shift(norm, {part: getattr(norm, part) for part in parts})
    layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    neutral = {f"{name}.{part}" for part in ("weight", "running_mean", "running_var")}
    if layer.bias is not None:
        shift = shift + layer.bias * scale
        layer.bias.zero_()
    norm.weight.fill_(1.0)
    norm.bias.copy_(shift)
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.zero_()
        neutral.add(f"{name}.num_batches_tracked")
    return neutral
