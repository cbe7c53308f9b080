"""MicroNet scores of many candidates: the counts of `costs.micronet` as arrays."""

from collections.abc import Sequence

import numpy as np

from automl_compress.core import LayerGraph
from automl_compress.core.graph import Width
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.costs.layer_bits import folded_norms, has_bias
from automl_compress.costs.layer_settings import LayerSettings
from automl_compress.costs.micronet import Track, baseline

BILLION = 10**9  # a score is stored as a whole number of billionths
BUDGET_TRACK: Track = "cifar100"  # whose baseline, WideResNet-28-10, costs and budgets refer to


class MicroNetScores:
    """Scores a network by its widths and what becomes of each layer, in billionths.

    Products are added up at 32 bits, scales and biases have 32, and so have operations between
    layers. Where the rules leave a choice, each layer takes what scores lowest: zeros stored under
    a mask or as codes; quantised weights or inputs used as such or as the floats that they
    stand for, which may be had for free. So a score never falls as bits or density grow. It is
    that of `micronet_count` but for such layers, which that counts as they are told, and for
    layers of shared weights too small for codebooks, whose products count as floats all the same.
    """

    def __init__(self, graph: LayerGraph, track: Track = BUDGET_TRACK) -> None:
        """Find what grows with which widths: L layers, then norms and what follows layers."""
        tensors = {tensor.name: tensor for tensor in graph.tensors}
        multiplying = [layer for layer in graph.layers if layer.kind != "other"]
        folded = folded_norms(graph)
        norms = [
            layer
            for layer in graph.layers
            if layer.kind == "other" and layer.name not in folded.values()
        ]
        parameters, operations = baseline(track)
        self._bit, self._bit_operation = (
            BILLION / (FLOAT_BITS * amount) for amount in (parameters, operations)
        )
        self._positions = np.array(
            [tensors[layer.weight].positions * self._bit_operation for layer in multiplying]
        )  # what one bit operation at every position scores
        biases = np.array([float(has_bias(layer, tensors, folded)) for layer in multiplying])
        axes = [tensors[layer.weight].axes[0] for layer in [*multiplying, *norms]]
        prices = [0.0] * len(multiplying)
        prices += [self._norm_price(layer.calls, layer.output_size) for layer in norms]
        self._constant = 0.0
        for use in graph.elementwise:
            score = FLOAT_BITS * self._bit_operation * (use.multiplies + use.additions)
            if not use.layer:
                self._constant += score
                continue
            axes.append(tensors[graph.layer(use.layer).weight].axes[0])
            prices.append(score / axes[-1].size(graph.full_widths))
        self._channels = _Affine(axes, len(graph.groups))
        self._prices = np.array(prices)
        self._layers = len(multiplying)
        self._float_bits = FLOAT_BITS * self._bit
        self._addition = FLOAT_BITS * self._positions  # an output has one less than products
        self._float_price = self._float_bits + 2 * self._addition
        self._scale_price = self._float_bits + self._addition
        self._output_price = biases * self._scale_price - self._addition

    def channels(self, widths: Sequence[int]) -> np.ndarray:
        """Return the outputs of the L layers, then what else grows with widths; float64."""
        return self._channels.of(widths)

    def of_floats(self, channels: np.ndarray, weights: np.ndarray) -> int:
        """Return the score of a network whose layers are float and have these weights, (L,)."""
        score = weights @ self._float_price + channels @ self._prices
        return round(float(score + channels[: self._layers] @ self._output_price) + self._constant)

    def of(self, channels: np.ndarray, weights: np.ndarray, layers: LayerSettings) -> int:
        """Return the score.

        Args:
            channels: as `channels` returns them.
            weights: of the L layers, zeros among them; float64 (L,).
            layers: what these become.
        """
        weight_bits, densities = layers.weight_bits, layers.densities
        outputs = channels[: self._layers]
        if bool((densities == 1.0).all()):
            kept, additions = weights, 0.0
            codes, floats = self._bit * weight_bits * weights, self._float_bits * weights
        else:
            kept = np.rint(weights * densities)
            # Fewer terms than outputs: those without any need no addition, and were taken off.
            additions = np.maximum(outputs - kept, 0) @ self._addition
            codes = self._bit * np.minimum(weight_bits * weights, weight_bits * kept + weights)
            floats = self._bit * np.minimum(FLOAT_BITS * weights, FLOAT_BITS * kept + weights)
        products = kept * self._positions
        inputs = np.maximum(weight_bits, layers.activation_bits) * products
        inputs += (layers.activation_bits < FLOAT_BITS) * (FLOAT_BITS * self._bit)
        as_floats = FLOAT_BITS * products
        one_bit = np.where(weight_bits == 1.0, products, as_floats)
        quantised = codes + self._grids(outputs, weights, layers)
        # The values of a codebook are floats.
        quantised += np.where(layers.are_shared, as_floats, np.minimum(inputs, one_bit))
        of_layers = np.minimum(floats + as_floats, quantised)
        score = of_layers.sum() + kept @ self._addition + outputs @ self._output_price
        return round(float(score + additions + channels @ self._prices) + self._constant)

    def _grids(self, outputs: np.ndarray, weights: np.ndarray, layers: LayerSettings) -> np.ndarray:
        """Return what scales, stored and multiplied with, or codebooks score; float64 (L,)."""
        stored = np.where(layers.have_one_scale, 1, outputs) * self._float_bits
        scales = stored + outputs * self._addition
        if not layers.is_any_shared:
            return scales
        codebooks = self._bit * layers.codebook_bits(outputs, weights)
        return np.where(codebooks > 0, codebooks, scales)

    def _norm_price(self, calls: int, output_size: Sequence[int]) -> float:
        """Return what a channel's scale and shift score."""
        positions = calls * float(np.prod(output_size))
        return 2 * FLOAT_BITS * (self._bit + positions * self._bit_operation)


class _Affine:
    """Axes as affine functions of widths: fixed + matrix @ widths."""

    def __init__(self, axes: Sequence[Width], groups: int) -> None:
        self._fixed = np.array([axis.fixed for axis in axes], dtype=np.float64)
        self._matrix = np.zeros((len(axes), groups))
        for row, axis in enumerate(axes):
            for group, each in axis.terms:
                self._matrix[row, group] += each

    def of(self, widths: Sequence[int]) -> np.ndarray:
        """Return the sizes, float64."""
        return self._fixed + self._matrix @ np.asarray(widths, dtype=np.float64)
