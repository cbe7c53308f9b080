"""What cut float networks cost, without building them."""

from collections.abc import Sequence

import numpy as np

from automl_compress.core import Cost, LayerGraph
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.costs.micronet_scores import MicroNetScores


class TensorSizes:
    """How many entries each of the graph's T tensors has, for any widths.

    A tensor's size is the product of its axes, each an affine function of the kept channels.
    """

    def __init__(self, graph: LayerGraph) -> None:
        """Lay the graph's tensors out as matrices: T tensors, A axes at most, G groups."""
        tensors = graph.tensors
        axes = max((len(tensor.axes) for tensor in tensors), default=1)
        # One row for each (tensor, axis); missing axes count as 1.
        self._fixed = np.ones((len(tensors), axes), dtype=np.int64)
        self._per_channel = np.zeros((len(tensors), axes, len(graph.groups)), dtype=np.int64)
        for row, tensor in enumerate(tensors):
            for column, axis in enumerate(tensor.axes):
                self._fixed[row, column] = axis.fixed
                for group, each in axis.terms:
                    self._per_channel[row, column, group] += each
        self._is_variable = self._per_channel.any(axis=(0, 2))
        self._constant = self._fixed[:, ~self._is_variable].prod(axis=1)
        self._fixed = self._fixed[:, self._is_variable]
        per_channel = self._per_channel[:, self._is_variable].astype(np.float64)
        # Products of floats are many times faster, and these numbers are small enough to be exact.
        self._per_channel = per_channel.reshape(self._fixed.size, len(graph.groups))

    def of(self, widths: Sequence[int]) -> np.ndarray:
        """Return the entries of each tensor when group g keeps `widths[g]` channels; int64 (T,)."""
        grown = self._per_channel @ np.asarray(widths, dtype=np.float64)
        axes = self._fixed + grown.astype(np.int64).reshape(self._fixed.shape)  # (T, A)
        return self._constant * axes.prod(axis=1)


class AnalyticCosts:
    """Counts a cut float network's cost from the graph alone.

    A convolution or linear layer costs one multiply-accumulate for each weight at each output
    position. Bias additions, normalisation and activations are not counted, as in
    `torch.utils.flop_counter`, which is the independent count in the tests.
    """

    def __init__(self, graph: LayerGraph) -> None:
        """Lay out what each entry of a tensor costs."""
        self._sizes = TensorSizes(graph)
        self._weights = np.stack(
            [
                np.array([tensor.positions for tensor in graph.tensors], dtype=np.int64),
                np.array([int(tensor.is_parameter) for tensor in graph.tensors], dtype=np.int64),
                np.array([tensor.item_bytes for tensor in graph.tensors], dtype=np.int64),
            ]
        )  # (3, T)
        place = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
        multiplying = [layer.weight for layer in graph.layers if layer.kind != "other"]
        self._multiplying = np.array([place[name] for name in multiplying], dtype=np.int64)
        self._scores = MicroNetScores(graph)
        self.full = self.cost(graph.full_widths)

    def cost(self, setting: Sequence[int]) -> Cost:
        """Return the cost when group g keeps `setting[g]` channels."""
        entries = self._sizes.of(setting)
        macs, parameters, size_bytes = (int(total) for total in self._weights @ entries)
        channels = self._scores.channels(setting)
        score = self._scores.of_floats(channels, entries[self._multiplying])
        return Cost(macs, parameters, size_bytes, macs * FLOAT_BITS * FLOAT_BITS, score)
