"""A layer graph as JSON, so that the HTTP process knows a network without loading torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from automl_compress.core import (
    ChannelGroup,
    ElementwiseUse,
    Layer,
    LayerGraph,
    Obstacle,
    StoredTensor,
    Width,
)


def graph_to_json(graph: LayerGraph) -> dict[str, Any]:
    """Return the graph as a JSON object."""
    return {each.name: _plain(getattr(graph, each.name)) for each in fields(graph)}


def graph_from_json(content: Mapping[str, Any]) -> LayerGraph:
    """Read what `graph_to_json` wrote."""
    return LayerGraph(
        input_shape=tuple(content["input_shape"]),
        layers=tuple(Layer(**_tuples(each)) for each in content["layers"]),
        edges=tuple((edge[0], edge[1]) for edge in content["edges"]),
        groups=tuple(ChannelGroup(**_tuples(each)) for each in content["groups"]),
        tensors=tuple(_tensor(each) for each in content["tensors"]),
        obstacles=tuple(Obstacle(**_tuples(each)) for each in content["obstacles"]),
        fingerprint=content["fingerprint"],
        # Graphs that were stored before these were found lack them.
        elementwise=tuple(ElementwiseUse(**each) for each in content.get("elementwise", ())),
        unscored=tuple(content.get("unscored", ())),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _tensor(content: Mapping[str, Any]) -> StoredTensor:
    axes = tuple(
        Width(axis["fixed"], tuple((term[0], term[1]) for term in axis["terms"]))
        for axis in content["axes"]
    )
    rest = {name: value for name, value in content.items() if name != "axes"}
    return StoredTensor(axes=axes, **rest)


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if _is_list(value) else value for name, value in content.items()}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
