"""What the actor sees before it decides a layer: for spaces where more than widths is open."""

import math

import numpy as np

from automl_compress.core import Layer, LayerGraph
from automl_envs.features import layer_macs, layer_weights, min_max_by_column
from automl_envs.walk import LayerWalk

STATIC = (
    "index", "is_linear", "is_depthwise", "in_channels", "out_channels", "stride", "kernel",
    "weights", "input_size", "height", "width", "macs_share",
)  # fmt: skip


class SiteObservation:
    """The layer, what of it is left to decide, and an account of the budget; all in [0, 1].

    - Of the layer: the features of AMC's corrected vector joined with HAQ's (depthwise flag,
      input positions), each scaled over the visited layers.
    - `decides`, by kind: whether the action's component of it counts here.
    - `weights_left`: share of the layer's weights that the decided widths leave.
    - `reduced`: how much cheaper the decisions taken so far have made the network, and `rest`:
      how much cheaper those to come can make it; both in the budget's metric, as shares of
      what lies between the space's dearest and cheapest setting.
    - `previous`, by kind: the share that stood at the site before, 1 at first.

    Source: Wang et al., HAQ (CVPR 2019), section 3.1; AMC as CorrectedObservation.
    """

    def __init__(self, walk: LayerWalk) -> None:
        """Lay out the static columns, one row for each visited layer."""
        self.features: tuple[str, ...] = (
            *STATIC,
            *(f"decides.{kind}" for kind in walk.kinds),
            "weights_left", "reduced", "rest",
            *(f"previous.{kind}" for kind in walk.kinds),
        )  # fmt: skip
        self.highest = np.ones(len(self.features), dtype=np.float32)
        graph = walk.space.graph
        total = max(sum(layer_macs(graph, layer) for layer in graph.layers), 1)
        layers = [graph.layer(site.layer) for site in walk.order]
        rows = [(step, *_row(graph, layer, total)) for step, layer in enumerate(layers)]
        scaled = min_max_by_column(np.array(rows, dtype=np.float64))
        decides = [site.decides for site in walk.order]
        self._static = np.column_stack([scaled / np.maximum(scaled.max(axis=0), 1.0), decides])
        tensors = {tensor.name: tensor for tensor in graph.tensors}
        self._axes = [tensors[layer.weight].axes for layer in layers]
        self._first, self._dearest = np.ones(len(walk.kinds)), self._cost(walk, walk.space.largest)
        self._span = max(self._dearest - self._cost(walk, walk.space.smallest), 1)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the layer to decide now; the last one, decided, when the walk is done."""
        step = min(walk.steps, len(walk.order) - 1)
        at_most = walk.with_undecided(walk.space.largest)
        highest = self._cost(walk, at_most)
        lowest = self._cost(walk, walk.with_undecided(walk.space.smallest))
        full = walk.space.graph.full_widths
        row = [
            *self._static[step],
            math.prod(axis.size(at_most) / axis.size(full) for axis in self._axes[step]),
            (self._dearest - highest) / self._span,
            (highest - lowest) / self._span,
            *(walk.realised[-1] if walk.realised else self._first),
        ]
        return np.clip(np.array(row, dtype=np.float32), 0.0, self.highest)

    @staticmethod
    def _cost(walk: LayerWalk, setting: tuple[int, ...] | list[int]) -> int:
        return walk.space.costs.cost(setting).of(walk.budget.metric)


def _row(graph: LayerGraph, layer: Layer, total_macs: int) -> tuple[float, ...]:
    height, width = (*layer.output_size, 1, 1)[:2]
    return (
        float(layer.kind == "linear"),
        float(layer.is_depthwise),
        layer.in_channels,
        layer.out_channels,
        layer.stride[0] if layer.stride else 0,
        layer.kernel_size[0] if layer.kernel_size else 1,
        layer_weights(graph, layer),
        input_positions(layer),
        height,
        width,
        layer_macs(graph, layer) / total_macs,
    )


def input_positions(layer: Layer) -> int:
    """Return the spatial size of a layer's input, taken as its output's times the strides."""
    return math.prod(layer.output_size) * math.prod(layer.stride)
