"""What one layer's weights become under a policy: sparse, then quantised."""

from dataclasses import dataclass

import torch
from torch import Tensor

from automl_compress.compress.quantisers import (
    Grid,
    QuantisedTensor,
    Quantiser,
    create_quantiser,
)
from automl_compress.core import LayerChoice
from automl_compress.core.errors import DataInvalid
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.core.weight_grids import SHARING, codebook_bits

_INSTEAD_OF_DEAR_CODEBOOKS = "scan"


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """A layer's new weights.

    values: float32, of the weight's shape; zeros are exact, the others on the grid.
    quantised: the same as codes; None where the layer keeps float weights.
    """

    values: Tensor
    quantised: QuantisedTensor | None = None


def compressed_weights(weight: Tensor, choice: LayerChoice) -> LayerWeights:
    """Zero the smallest weights and quantise the others, on a grid of each output channel or one.

    Each output channel's grid depends on its own weights alone, and scaling a channel scales
    its grid: a normalisation behind the layer can be folded in before or after. Not so for
    `uniform` and `kmeans`, which try the grid of the whole weight too, never to be worse than it,
    nor with one scale for the tensor: there, give the weight with its normalisation folded in.
    Codebooks that would add a bit or more to each weight that is not zero give way to a scale.

    Args:
        weight: floating point (outputs, ...), what is left after channels were cut.
        choice: what the layer becomes.

    Raises:
        DataInvalid: the weight is empty or holds NaN or infinity.
    """
    kept = sparsified(weight, choice.sparsity)
    if choice.weight_bits == FLOAT_BITS:
        return LayerWeights(kept)
    axis = 0 if choice.weight_scales == "channel" else None
    quantised = _quantiser(kept, choice).fit(kept, choice.weight_bits, axis)
    return LayerWeights(quantised.dequantise(), quantised)


def weights_on(grid: Grid, weight: Tensor, choice: LayerChoice) -> LayerWeights:
    """Zero the smallest weights and put the others on a grid that is known.

    Args:
        grid: of the choice's bits.
        weight: floating point (outputs, ...).
        choice: what the layer becomes.

    Raises:
        InvalidInput: the grid has another number of channels.
        DataInvalid: the weight is empty or holds NaN or infinity.
    """
    quantised = QuantisedTensor(grid.encode(sparsified(weight, choice.sparsity)), grid)
    return LayerWeights(quantised.dequantise(), quantised)


def _quantiser(weight: Tensor, choice: LayerChoice) -> Quantiser:
    if choice.weight_bits == 1:  # whatever finds a scale: a sign has one that is best
        return create_quantiser("binary")
    if choice.quantiser == SHARING and _are_dear(weight, choice.weight_bits):
        return create_quantiser(_INSTEAD_OF_DEAR_CODEBOOKS)
    return create_quantiser(choice.quantiser)


def _are_dear(weight: Tensor, bits: int) -> bool:
    """Say whether codebooks would add a bit or more to each weight that is not zero."""
    return len(weight) * codebook_bits(bits) >= int(weight.count_nonzero())


def sparsified(weight: Tensor, sparsity: float) -> Tensor:
    """Return the weight with the given fraction of entries, the smallest ones, set to zero.

    Where entries are equally small, more than that may go. Magnitude pruning as in Han et al.,
    "Learning both weights and connections", NeurIPS 2015, section 3.

    Args:
        weight: floating point, of any shape.
        sparsity: fraction, in [0, 1).

    Raises:
        DataInvalid: the weight is empty or holds NaN or infinity.
    """
    if not weight.numel() or not bool(torch.isfinite(weight).all()):
        raise DataInvalid(
            f"a weight of shape {tuple(weight.shape)} is empty or holds NaN or infinity; only "
            "finite weights can be made sparse"
        )
    removed = round(sparsity * weight.numel())
    if not removed:
        return weight
    magnitudes = weight.abs()
    threshold = magnitudes.reshape(-1).kthvalue(removed).values
    return torch.where(magnitudes > threshold, weight, torch.zeros_like(weight))
