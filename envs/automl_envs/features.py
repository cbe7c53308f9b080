"""Facts of a coupled group that no decision changes: shapes, weights, multiply-accumulates.

A group may hold several layers. Shape features (channels, stride, kernel, spatial size) are
those of the first layer that produces its channels; weights and MACs are summed over all its
producers. AMC's code describes the layer whose *input* is cut; here a group is described by
the layers whose *output* is cut, for where channels are coupled, inputs have no single layer.
"""

import math
from collections.abc import Sequence

import numpy as np

from automl_compress.core import Layer, LayerGraph


def shape_features(graph: LayerGraph, group: int) -> tuple[float, ...]:
    """Return is_linear, in_channels, out_channels, stride, kernel, weights of a group.

    A linear layer has stride 0 and kernel 1; of a two-dimensional kernel the first side counts.

    Source: mit-han-lab/amc, env/channel_pruning_env.py, features 1 to 6.
    """
    producers = [graph.layer(name) for name in graph.groups[group].producers]
    first = producers[0]
    return (
        float(first.kind == "linear"),
        first.in_channels,
        first.out_channels,
        first.stride[0] if first.stride else 0,
        first.kernel_size[0] if first.kernel_size else 1,
        sum(layer_weights(graph, layer) for layer in producers),
    )


def extent_features(graph: LayerGraph, group: int) -> tuple[float, float]:
    """Return height and width of a group's first producer's output; 1 where there is none."""
    size = graph.layer(graph.groups[group].producers[0]).output_size
    height, width = (*size, 1, 1)[:2]
    return height, width


def group_macs(graph: LayerGraph, group: int) -> int:
    """Return the multiply-accumulates of all layers that produce a group's channels, uncut."""
    return sum(layer_macs(graph, graph.layer(name)) for name in graph.groups[group].producers)


def layer_weights(graph: LayerGraph, layer: Layer) -> int:
    """Return the entries of a layer's weight in the uncut network, without its bias."""
    return sum(
        math.prod(axis.size(graph.full_widths) for axis in tensor.axes)
        for tensor in graph.tensors
        if tensor.name == layer.weight
    )


def layer_macs(graph: LayerGraph, layer: Layer) -> int:
    """Return a layer's multiply-accumulates in the uncut network, at batch 1."""
    positions = sum(tensor.positions for tensor in graph.tensors if tensor.name == layer.weight)
    return positions * layer_weights(graph, layer)


def published_rest(graph: LayerGraph, order: Sequence[int]) -> list[float]:
    """Return AMC's `rest` before each of these groups is decided.

    It is the share of the network's MACs behind the group's first layer, plus that of *all*
    depthwise layers, also those already passed; before the first group it is counted in
    weights instead of MACs.

    Source: mit-han-lab/amc, env/channel_pruning_env.py, `reset` and `step`: the list of costs
    is ordered "all prunable layers, then all depthwise layers".
    """
    counted = [layer for layer in graph.layers if layer.kind != "other"]
    total_macs = max(sum(layer_macs(graph, layer) for layer in counted), 1)
    total_weights = max(sum(layer_weights(graph, layer) for layer in counted), 1)
    place = {layer.name: index for index, layer in enumerate(graph.layers)}
    rest: list[float] = []
    for step, group in enumerate(order):
        here = place[graph.groups[group].producers[0]]
        behind = [layer for layer in counted if place[layer.name] > here or layer.is_depthwise]
        if step == 0:
            rest.append(sum(layer_weights(graph, layer) for layer in behind) / total_weights)
        else:
            rest.append(sum(layer_macs(graph, layer) for layer in behind) / total_macs)
    return rest


def min_max_by_column(table: np.ndarray) -> np.ndarray:
    """Scale each column to [0, 1]; a constant one stays as it is. (rows, columns) both ways."""
    lowest, highest = table.min(axis=0), table.max(axis=0)
    varies = highest > lowest
    span = np.where(varies, highest - lowest, 1.0)
    return np.where(varies, (table - lowest) / span, table)
