"""What the layers of a candidate become, as arrays."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from automl_compress.core.policy import FLOAT_BITS
from automl_compress.core.weight_grids import codebook_bits

INTEGER_BITS = 8
_CODEBOOK_BITS = np.array([float(codebook_bits(bits)) for bits in range(FLOAT_BITS + 1)])


@dataclass(frozen=True)
class LayerSettings:
    """What L layers become, aligned with the graph's convolutions and linear layers.

    densities: kept fraction of the weights, in (0, 1]. These three are float64 (L,).
    are_shared: whether the quantiser gives a layer's outputs codebooks; bool (L,).
    have_one_scale: whether a layer has one scale for all of its outputs; bool (L,).
    """

    densities: np.ndarray
    weight_bits: np.ndarray
    activation_bits: np.ndarray
    are_shared: np.ndarray
    have_one_scale: np.ndarray

    @property
    def are_integer(self) -> np.ndarray:
        """Whether engines may compute each layer in int8; bool (L,)."""
        return (self.weight_bits <= INTEGER_BITS) & (self.activation_bits <= INTEGER_BITS)

    @cached_property
    def is_any_shared(self) -> bool:
        """Whether any layer may have codebooks."""
        return bool(self.are_shared.any())

    def codebook_bits(self, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return what each layer's codebooks take, in bits; float64 (L,).

        They are there where they add no more than a bit to each weight that is not zero, as in
        `compressed_weights`.

        Args:
            outputs: channels of each layer, (L,).
            weights: of each layer, (L,).
        """
        bits = outputs * _CODEBOOK_BITS[self.weight_bits.astype(np.int64)]
        return bits * (self.are_shared & (bits <= weights * self.densities))
