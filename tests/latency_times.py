"""Latency tables of made-up times."""

from collections.abc import Callable

import numpy as np

from automl_compress.core import LayerGraph
from automl_compress.costs import LatencyTable
from automl_compress.costs.latency_table import Calibration
from automl_compress.costs.layer_times import LayerShape, LayerTimes

Times = Callable[[int, int], float]  # of input and output channels


def padded_to_8(inputs: int, outputs: int) -> float:
    """Take what an engine takes that works in blocks of 8 channels."""
    return 100.0 * -(-inputs // 8) * -(-outputs // 8)


def table_of(
    graph: LayerGraph,
    times: Times = padded_to_8,
    step: int = 1,
    in_int8: Times | None = None,
) -> LatencyTable:
    """Return times of every layer, at multiples of a step and at the uncut widths.

    in_int8: those of layers of few bits; None for none.
    """
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    found: list[LayerTimes] = []
    for layer in graph.layers:
        if layer.kind != "other":
            outputs, inputs = (
                [*range(step, largest, step), largest]
                for largest in (
                    axis.size(graph.full_widths) for axis in tensors[layer.weight].axes[:2]
                )
            )
            for is_integer, taken in ((False, times), (True, in_int8)):
                if taken is not None:
                    grid = np.array([[taken(one, two) for two in outputs] for one in inputs])
                    shape = LayerShape.of(layer, is_integer=is_integer)
                    found.append(LayerTimes(shape, tuple(inputs), tuple(outputs), grid))
    calibration = Calibration(500.0, 1.5, 0.01, 1.2, 0.3)
    return LatencyTable("cpu-made-up", "made up", "1", 1, tuple(found), calibration)
