"""MACs, parameters and stored bytes of a policy, without building the network."""

from collections.abc import Sequence

import numpy as np

from automl_compress.core import Cost, LayerGraph


class AnalyticCosts:
    """Counts a cut network's cost from the graph alone.

    A tensor's size is the product of its axes, each an affine function of the kept channels;
    a convolution or linear layer costs one multiply-accumulate for each weight at each output
    position. Bias additions, normalisation and activations are not counted, as in
    `torch.utils.flop_counter`, which is the independent count in the tests.
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
        self._per_channel = self._per_channel[:, self._is_variable]
        self._weights = np.stack(
            [
                np.array([tensor.positions for tensor in tensors], dtype=np.int64),
                np.array([int(tensor.is_parameter) for tensor in tensors], dtype=np.int64),
                np.array([tensor.item_bytes for tensor in tensors], dtype=np.int64),
            ]
        )  # (3, T)

    def cost(self, widths: Sequence[int]) -> Cost:
        """Return the cost when group g keeps `widths[g]` channels."""
        axes = self._fixed + self._per_channel @ np.asarray(widths, dtype=np.int64)  # (T, A)
        sizes = self._constant * axes.prod(axis=1)  # (T,)
        macs, parameters, size_bytes = (int(total) for total in self._weights @ sizes)
        return Cost(macs, parameters, size_bytes)
