"""What a network takes on a target, for any widths, from a table of its layers' times."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod

import numpy as np

from automl_compress.core import Layer, LayerGraph, StoredTensor
from automl_compress.core.decision import Decision
from automl_compress.core.errors import TableMismatch
from automl_compress.costs.latency_table import LatencyTable, times_of_layers
from automl_compress.costs.layer_bits import folded_norms
from automl_compress.costs.layer_times import LayerTimes, told_apart


class LatencyModel:
    """Predicts the time of one call as a weighted sum over layers.

    A width that the table lacks takes as long as the next larger one that it has. Layers of L
    convolutions and linear layers, G groups.
    """

    def __init__(self, graph: LayerGraph, table: LatencyTable) -> None:
        """Lay the times out for look-up.

        Raises:
            TableMismatch: the table has no times for one of the network's layers, or by it the
                network takes no time.
        """
        self._calibration = table.calibration
        layers = [layer for layer in graph.layers if layer.kind != "other"]
        tensors = {tensor.name: tensor for tensor in graph.tensors}
        self._calls = np.array([layer.calls for layer in layers], dtype=np.float64)
        # Second axes of all weights, then first ones: (2 L,).
        axes = [tensors[layer.weight].axes[axis] for axis in (1, 0) for layer in layers]
        self._fixed = np.array([axis.fixed for axis in axes])
        self._terms = np.zeros((len(axes), len(graph.groups)), dtype=np.int64)
        for place, axis in enumerate(axes):
            for group, each in axis.terms:
                self._terms[place, group] += each
        largest = [axis.size(graph.full_widths) for axis in axes]
        times = times_of_layers(table, graph)
        integer_times = times_of_layers(table, graph, are_integer=True)
        self._float, self._integer = (
            _LookUp(each, [one.nanoseconds for one in each], largest)
            for each in (times, integer_times)
        )
        self._spreads = _LookUp(times, [each.known_spreads for each in times], largest)
        self._has_integer_times = np.array([each.shape.is_integer for each in integer_times])
        self._pixels = np.array([_input_pixels(layer) for layer in layers])
        self._is_depthwise = np.array([layer.is_depthwise for layer in layers])
        self._convolution_groups = np.array([layer.convolution_groups for layer in layers])
        self._sources = _sources(graph)
        self._takes_images = ~self._sources.any(axis=1)
        self._operations, self._fixed_operations = _elementwise(graph, tensors)
        self._full = tuple(graph.full_widths)
        self._full_ns = self._calibration.uncut * self._fitted_ns(self._full)
        if round(self._full_ns) < 1:
            raise TableMismatch(
                f"by the latency table of {table.target} the network takes no time: its times or "
                "its calibration are 0; measure it anew: automl-compress measure-latency"
            )

    def latency_ns(self, widths: Sequence[int], are_integer: np.ndarray | None = None) -> int:
        """Return the time of one call, in nanoseconds; arguments as of `shares_ns`.

        That of the uncut network at most: a cost may not fall as widths grow.
        """
        if are_integer is None and tuple(widths) == self._full:
            return round(self._full_ns)
        return round(min(self._fitted_ns(widths, are_integer), self._full_ns))

    def _fitted_ns(self, widths: Sequence[int], are_integer: np.ndarray | None = None) -> float:
        told, layers = self._calibration, self.shares_ns(widths, are_integer).sum()
        operations = told.elementwise_ns * self._elementwise(widths)
        return float(told.call_ns + layers + operations)

    def shares_ns(self, widths: Sequence[int], are_integer: np.ndarray | None = None) -> np.ndarray:
        """Return what each layer takes of a call, float64 (L,), in nanoseconds.

        The price of the call, and operators between the layers, belong to none.

        Args:
            widths: kept channels of each group.
            are_integer: bool (L,), which layers have weights and inputs of at most 8 bits; None
                for none.
        """
        floats = self._calibration.layers * self.layers_ns(widths)
        if are_integer is None or not (chosen := are_integer & self._has_integer_times).any():
            return floats
        # An engine that is slower in int8 counts as in float32: more bits must not cost less.
        return np.where(chosen, np.minimum(self._in_int8(widths, chosen), floats), floats)

    def layers_ns(self, widths: Sequence[int]) -> np.ndarray:
        """Return what each layer takes alone in float32, before calibration; float64 (L,)."""
        return self._calls * self._float.of(self._sizes(widths))

    def features(
        self, widths: Sequence[int], are_integer: np.ndarray | None = None
    ) -> tuple[float, float, float, float, float]:
        """Return what calibration weighs.

        Returns:
            Calls, nanoseconds of float layers, elementwise operations, nanoseconds of layers in
            int8, values that these quantise. A layer of few bits without times in int8 is among
            the float ones.
        """
        operations, floats = self._elementwise(widths), self.layers_ns(widths)
        if are_integer is None:
            return 1.0, float(floats.sum()), operations, 0.0, 0.0
        chosen = are_integer & self._has_integer_times
        in_int8 = self._calls * self._integer.of(self._sizes(widths))
        quantised = self._quantised(widths, chosen)
        sums = float(floats[~chosen].sum()), float(in_int8[chosen].sum())
        return 1.0, sums[0], operations, sums[1], float(quantised.sum())

    def _in_int8(self, widths: Sequence[int], chosen: np.ndarray) -> np.ndarray:
        told = self._calibration
        layers = self._calls * self._integer.of(self._sizes(widths))
        quantising = told.quantising_ns * self._quantised(widths, chosen)
        return told.integer_layers * layers + quantising

    def _quantised(self, widths: Sequence[int], chosen: np.ndarray) -> np.ndarray:
        """Return how many values each layer in int8 gets from layers in float32, or as images."""
        inputs, outputs = self._sizes(widths).reshape(2, -1)
        channels = np.where(self._is_depthwise, outputs, inputs * self._convolution_groups)
        has_float_source = self._takes_images | ((self._sources @ ~chosen) > 0)
        return self._calls * self._pixels * channels * (chosen & has_float_source)

    def _elementwise(self, widths: Sequence[int]) -> float:
        grown = float(self._operations @ np.asarray(widths, dtype=np.float64))
        return grown + self._fixed_operations

    def _sizes(self, widths: Sequence[int]) -> np.ndarray:
        return self._fixed + self._terms @ np.asarray(widths, dtype=np.int64)

    def worthwhile(self, decisions: Sequence[Decision]) -> tuple[Decision, ...]:
        """Leave out widths that take as long as a larger one: they would lose accuracy for nothing.

        A width stays if what it saves is more than the spread of the measurements.
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
        least = least_spread = float("inf")
        for width in reversed(allowed):
            widths = [*full[:group], width, *full[group + 1 :]]
            taken = float(self.layers_ns(widths)[touched].sum())
            # Layers of one shape share a measurement: their errors add up.
            spread = (self._calls * self._spreads.of(self._sizes(widths)))[touched].sum()
            if not kept or least - taken > told_apart(least_spread, spread):
                kept.append(width)
                least, least_spread = taken, spread
        return tuple(reversed(kept))


class _LookUp:
    """Figures of L layers, each on its grid of widths, laid out flat."""

    def __init__(
        self, times: Sequence[LayerTimes], figures: Sequence[np.ndarray], largest: Sequence[int]
    ) -> None:
        """Prepare for sizes of second axes, then first ones, up to `largest` (2 L,)."""
        self._figures = np.concatenate([each.ravel() for each in figures])
        self._first = _starts([each.size for each in figures])
        self._row = np.array([len(each.outputs) for each in times])
        grids = [each.inputs for each in times] + [each.outputs for each in times]
        steps = [_next_places(*each) for each in zip(grids, largest, strict=True)]
        self._steps = np.concatenate(steps)
        self._step_first = _starts([len(each) for each in steps])

    def of(self, sizes: np.ndarray) -> np.ndarray:
        """Return each layer's figure, float64 (L,), for sizes (2 L,)."""
        inputs, outputs = self._steps[self._step_first + sizes].reshape(2, -1)
        return self._figures[self._first + inputs * self._row + outputs]


def _starts(sizes: Sequence[int]) -> np.ndarray:
    return np.array(list(accumulate(sizes, initial=0))[:-1])


def _next_places(grid: Sequence[int], largest: int) -> np.ndarray:
    """Return, for each width from 0 to the largest, the place of the next one in the grid."""
    return np.searchsorted(np.asarray(grid), np.arange(largest + 1))


def _input_pixels(layer: Layer) -> int:
    """Return at how many places of its input a layer has each of its channels."""
    sides = zip(layer.output_size, layer.stride, strict=False)  # a linear layer has no stride
    return prod(side * step for side, step in sides)


def _sources(graph: LayerGraph) -> np.ndarray:
    """Return which of the L layers each of them gets its input from; bool (L, L)."""
    place = {
        index: row
        for row, index in enumerate(
            index for index, layer in enumerate(graph.layers) if layer.kind != "other"
        )
    }
    before: dict[int, set[int]] = {}
    for source, target in graph.edges:
        before.setdefault(target, set()).add(source)
    found = np.zeros((len(place), len(place)), dtype=bool)
    for index, row in place.items():
        waiting, seen = list(before.get(index, ())), set[int]()
        while waiting:  # back through norms and the like
            source = waiting.pop()
            if source in place:
                found[row, place[source]] = True
            elif source not in seen:
                seen.add(source)
                waiting.extend(before.get(source, ()))
    return found


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
