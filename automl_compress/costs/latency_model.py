"""What a network takes on a target, for any widths, from a table of its layers' times."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from automl_compress.core import LayerGraph, StoredTensor
from automl_compress.core.decision import Decision
from automl_compress.costs.latency_table import LatencyTable, times_of_layers
from automl_compress.costs.layer_bits import folded_norms

# A width is worth having if the layers that it belongs to take that much of the time at the next.
WORTHWHILE = 0.98


class LatencyModel:
    """Predicts the time of one call as a weighted sum over layers.

    A width that the table lacks takes as long as the next larger one that it has. Layers of L
    convolutions and linear layers, G groups.
    """

    def __init__(self, graph: LayerGraph, table: LatencyTable) -> None:
        """Lay the times out for look-up.

        Raises:
            InvalidInput: the table has no times for one of the network's layers.
        """
        times = times_of_layers(table, graph)
        self._calibration = table.calibration
        layers = [layer for layer in graph.layers if layer.kind != "other"]
        tensors = {tensor.name: tensor for tensor in graph.tensors}
        self._calls = np.array([layer.calls for layer in layers], dtype=np.float64)
        self._nanoseconds = np.concatenate([each.nanoseconds.ravel() for each in times])
        self._first = _starts([each.nanoseconds.size for each in times])
        self._row = np.array([len(each.outputs) for each in times])
        # Second axes of all weights, then first ones: (2 L,).
        axes = [tensors[layer.weight].axes[axis] for axis in (1, 0) for layer in layers]
        self._fixed = np.array([axis.fixed for axis in axes])
        self._terms = np.zeros((len(axes), len(graph.groups)), dtype=np.int64)
        for place, axis in enumerate(axes):
            for group, each in axis.terms:
                self._terms[place, group] += each
        grids = [each.inputs for each in times] + [each.outputs for each in times]
        largest = [axis.size(graph.full_widths) for axis in axes]
        steps = [_next_places(*each) for each in zip(grids, largest, strict=True)]
        self._steps, self._step_first = (
            np.concatenate(steps),
            _starts([len(each) for each in steps]),
        )
        self._operations, self._fixed_operations = _elementwise(graph, tensors)

    def latency_ns(self, widths: Sequence[int]) -> int:
        """Return the time of one call, in nanoseconds, when group g keeps `widths[g]` channels."""
        told = self._calibration
        weights = told.call_ns, told.layers, told.elementwise_ns
        return round(float(np.dot(weights, self.features(widths))))

    def layers_ns(self, widths: Sequence[int]) -> np.ndarray:
        """Return what each layer takes alone, before calibration; float64 (L,)."""
        sizes = self._fixed + self._terms @ np.asarray(widths, dtype=np.int64)
        inputs, outputs = self._steps[self._step_first + sizes].reshape(2, -1)
        return self._calls * self._nanoseconds[self._first + inputs * self._row + outputs]

    def features(self, widths: Sequence[int]) -> tuple[float, float, float]:
        """Return what calibration weighs: calls, nanoseconds of layers, elementwise operations."""
        operations = float(self._operations @ np.asarray(widths, dtype=np.float64))
        return 1.0, float(self.layers_ns(widths).sum()), operations + self._fixed_operations

    def worthwhile(self, decisions: Sequence[Decision]) -> tuple[Decision, ...]:
        """Leave out widths that take as long as a larger one: they would lose accuracy for nothing.

        Engines work in blocks of channels, each in its own way; the table knows which.
        """
        full = [decision.full for decision in decisions if decision.kind == "width"]
        return tuple(
            replace(decision, allowed=self._worthwhile(decision.allowed, place, full))
            if decision.kind == "width"
            else decision
            for place, decision in enumerate(decisions)
        )

    def _worthwhile(
        self, allowed: tuple[int, ...], group: int, full: Sequence[int]
    ) -> tuple[int, ...]:
        layers = len(self._calls)
        touched = (self._terms[:layers, group] > 0) | (self._terms[layers:, group] > 0)
        kept: list[int] = []
        least = float("inf")
        for width in reversed(allowed):
            widths = [*full[:group], width, *full[group + 1 :]]
            taken = float(self.layers_ns(widths)[touched].sum())
            if not kept or taken <= WORTHWHILE * least:
                kept.append(width)
                least = taken
        return tuple(reversed(kept))


def _starts(sizes: Sequence[int]) -> np.ndarray:
    return np.array(list(accumulate(sizes, initial=0))[:-1])


def _next_places(grid: Sequence[int], largest: int) -> np.ndarray:
    """Return, for each width from 0 to the largest, the place of the next one in the grid."""
    return np.searchsorted(np.asarray(grid), np.arange(largest + 1))


def _elementwise(
    graph: LayerGraph, tensors: Mapping[str, StoredTensor]
) -> tuple[np.ndarray, float]:
    """Return operations without weights by kept channel of each group, and those of no group."""
    by_group, fixed = np.zeros(len(graph.groups)), 0.0
    folded = set(folded_norms(graph).values())
    outputs = {layer.name: tensors[layer.weight].axes[0] for layer in graph.layers}
    counted = [(use.layer, use.multiplies + use.additions) for use in graph.elementwise]
    for layer in graph.layers:
        if layer.kind == "other" and layer.name not in folded:
            positions = int(np.prod(layer.output_size, dtype=np.int64)) * layer.calls
            counted.append((layer.name, 2 * positions * layer.out_channels))
    for name, operations in counted:
        axis = outputs.get(name)
        if axis is None:
            fixed += operations
            continue
        each = operations / axis.size(graph.full_widths)
        fixed += each * axis.fixed
        for group, entries in axis.terms:
            by_group[group] += each * entries
    return by_group, fixed
