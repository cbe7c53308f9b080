"""Bit operations of a quantised network."""

from collections.abc import Mapping, Sequence

from automl_compress.core import LayerGraph
from automl_compress.costs.layer_bits import LayerBits, weight_layers


def bit_operations(
    graph: LayerGraph, widths: Sequence[int], bits: Mapping[str, LayerBits] | None = None
) -> int:
    """Return the bit operations of one example.

    A multiply-accumulate of a convolution or linear layer costs its weight bits times its
    activation bits, the usual count; here those with a weight that is zero cost nothing. For
    codebooks nothing is added: finding a code's value multiplies nothing, and codes have the
    same width whatever they stand for. Nor for scales, which multiply outputs and not weights.

    Args:
        graph: of the uncut network.
        widths: how many channels each group keeps.
        bits: by layer name; the others stay at 32 x 32.

    Raises:
        InvalidInput: a name belongs to no convolution or linear layer.
    """
    return sum(
        layer.nonzero * layer.positions * layer.bits.weight_bits * layer.bits.activation_bits
        for layer in weight_layers(graph, widths, bits or {})
        if layer.weights
    )
