"""A network as a graph of nodes with attributes, for agents that read its topology."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl_compress.core import CompressionSpace, Layer, LayerGraph, Width
from automl_envs.features import layer_macs, layer_weights
from automl_envs.sites import KINDS

NODE_FEATURES = (
    "is_convolution", "is_depthwise", "is_linear", "is_group", "in_channels", "out_channels",
    "kernel", "stride", "positions", "members", "macs_share", "weights_share", "depth",
)  # fmt: skip
RELATIONS = ("flow", "reversed_flow", "produces", "produced_by", "consumes", "consumed_by")

Edge = tuple[int, int]


@dataclass(frozen=True)
class NetworkGraph:
    """What of a network no decision changes: N nodes, the layers first, then its groups.

    D decisions are taken on it: widths belong to groups' nodes, and by shares to the layers that
    they cut; all others to layers' nodes.

    Attributes are on scales that do not depend on the network, so that what was learned on one
    can be used on another; all lie in [0, 1] for networks of usual sizes. Layers that neither
    convolve nor are linear are left out, and data flow through them is kept.

    nodes: attributes by NODE_FEATURES. float32, (N, len(NODE_FEATURES)).
    edges: from the first row's nodes to the second row's, one array for each of RELATIONS.
        int64, (2, E) each.
    inputs: which share of a node's input channels belongs to each width. float32, (N, D).
    outputs: the same of its output channels; a group's own node has its group in both.
    layers: for each kind of decision on layers that the space has, which of its decisions
        are a node's. float32, (N, D) each.
    places: the node of each decision. int64, (D,).
    """

    nodes: np.ndarray
    edges: tuple[np.ndarray, ...]
    inputs: np.ndarray
    outputs: np.ndarray
    layers: tuple[np.ndarray, ...]
    places: np.ndarray


def network_graph(space: CompressionSpace) -> NetworkGraph:
    """Lay out nodes and edges of a space's network.

    Source: the topology of AGMC (ICCV 2021) and GNN-RL (ICML 2022), whose public codes have a
    node for each filter and random numbers as attributes; here a node is a layer or a group
    and its attributes are real.
    """
    graph = space.graph
    layers = [layer for layer in graph.layers if layer.kind != "other"]
    place = {layer.name: index for index, layer in enumerate(layers)}
    groups = np.arange(len(graph.groups), dtype=np.int64) + len(layers)
    on_layers = space.decisions[len(graph.groups) :]
    places = np.array([*groups, *(place[each.target] for each in on_layers)], dtype=np.int64)
    count = len(layers) + len(groups)
    return NetworkGraph(
        _attributes(graph, layers),
        _edges(graph, place),
        _memberships(graph, layers, len(places), is_input=True),
        _memberships(graph, layers, len(places), is_input=False),
        tuple(
            _own_nodes(places, [each.kind == kind for each in space.decisions], count)
            for kind in KINDS[1:]
            if any(each.kind == kind for each in on_layers)
        ),
        places,
    )


def _own_nodes(places: np.ndarray, is_of_kind: Sequence[bool], count: int) -> np.ndarray:
    """Say of one kind which decision is which node's."""
    chosen = np.flatnonzero(is_of_kind)
    nodes = np.zeros((count, len(places)), dtype=np.float32)
    nodes[places[chosen], chosen] = 1.0
    return nodes


def _attributes(graph: LayerGraph, layers: Sequence[Layer]) -> np.ndarray:
    macs = {layer.name: layer_macs(graph, layer) for layer in layers}
    weights = {layer.name: layer_weights(graph, layer) for layer in layers}
    all_macs, all_weights = max(sum(macs.values()), 1), max(sum(weights.values()), 1)
    depth = {layer.name: index / max(len(layers) - 1, 1) for index, layer in enumerate(layers)}
    rows = [
        (
            *_shape(layer),
            0.0,
            macs[layer.name] / all_macs,
            weights[layer.name] / all_weights,
            depth[layer.name],
        )
        for layer in layers
    ]
    for group in graph.groups:
        members = {*group.producers, *group.consumers} & macs.keys()
        rows.append(
            (
                0.0, 0.0, 0.0, 1.0, _log(group.channels, 12), _log(group.channels, 12), 0.0, 0.0,
                _log(math.prod(graph.layer(group.producers[0]).output_size), 16),
                _log(len(members), 8),
                sum(macs[name] for name in members) / all_macs,
                sum(weights[name] for name in members) / all_weights,
                depth.get(group.producers[0], 0.0),
            )
        )  # fmt: skip
    return np.array(rows, dtype=np.float32)


def _shape(layer: Layer) -> tuple[float, ...]:
    return (
        float(layer.kind == "convolution"),
        float(layer.is_depthwise),
        float(layer.kind == "linear"),
        0.0,
        _log(layer.in_channels, 12),
        _log(layer.out_channels, 12),
        (layer.kernel_size[0] if layer.kernel_size else 1) / 8,
        (layer.stride[0] if layer.stride else 0) / 4,
        _log(math.prod(layer.output_size), 16),
    )


def _log(count: int, bits: int) -> float:
    return math.log2(1 + count) / bits


def _memberships(
    graph: LayerGraph, layers: Sequence[Layer], decisions: int, *, is_input: bool
) -> np.ndarray:
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    groups = len(graph.groups)
    shares = np.zeros((len(layers) + groups, decisions), dtype=np.float32)
    for row, layer in enumerate(layers):
        # A depthwise weight has no axis for its input, which is its output's group.
        axis = 1 if is_input and not layer.is_depthwise else 0
        for group, share in _owners(graph, tensors[layer.weight].axes[axis]):
            shares[row, group] = share
    shares[len(layers) :, :groups] = np.eye(groups)
    return shares


def _owners(graph: LayerGraph, axis: Width) -> list[tuple[int, float]]:
    size = max(axis.size(graph.full_widths), 1)
    return [(group, each * graph.full_widths[group] / size) for group, each in axis.terms]


def _edges(graph: LayerGraph, place: dict[str, int]) -> tuple[np.ndarray, ...]:
    flow = _flow(graph, place)
    produces = _membership([group.producers for group in graph.groups], place)
    consumes = _membership([group.consumers for group in graph.groups], place)
    both_ways = [way for edges in (flow, produces, consumes) for way in (edges, edges[::-1])]
    return tuple(np.ascontiguousarray(way) for way in both_ways)


def _membership(members: Sequence[Sequence[str]], place: dict[str, int]) -> np.ndarray:
    return _as_array(
        [
            (place[name], len(place) + group)
            for group, names in enumerate(members)
            for name in names
            if name in place
        ]
    )


def _flow(graph: LayerGraph, place: dict[str, int]) -> np.ndarray:
    """Connect each layer with those that its output reaches through layers without a place."""
    following: list[list[int]] = [[] for _ in graph.layers]
    for source, target in graph.edges:
        following[source].append(target)
    edges: list[Edge] = []
    for index, layer in enumerate(graph.layers):
        if layer.name in place:
            reached = _reached(graph, following, index, place)
            edges += [(place[layer.name], place[name]) for name in reached]
    return _as_array(edges)


def _reached(
    graph: LayerGraph, following: Sequence[Sequence[int]], start: int, place: dict[str, int]
) -> list[str]:
    names: list[str] = []
    seen: set[int] = set()
    waiting = list(following[start])
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        if graph.layers[index].name in place:
            names.append(graph.layers[index].name)
        else:
            waiting += following[index]
    return sorted(names)


def _as_array(edges: Sequence[Edge]) -> np.ndarray:
    return np.array(edges, dtype=np.int64).reshape(-1, 2).T
