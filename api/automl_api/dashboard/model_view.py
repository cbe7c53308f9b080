"""Everything that the page of a network shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from sqlalchemy.orm import Session

from automl_api.dashboard.channel_map import lanes
from automl_api.dashboard.sensitivity_view import SensitivityView, sensitivity_view
from automl_api.graph_json import graph_from_json
from automl_api.jobs.schemas import JobBody, job_body
from automl_api.models.schemas import ModelDetailsBody, model_details_body
from automl_compress.core import LayerGraph
from automl_compress.store import DatasetRow, JobKind, browsing, datasets
from automl_compress.store import models as model_rows
from automl_compress.store.browsing import JobFilter, PolicyOfJob

JOBS_SHOWN = 20


@dataclass(frozen=True)
class GroupView:
    """One decision: layers that lose the same channels; its line stands in this lane."""

    name: str
    channels: int
    producers: Sequence[str]
    consumers: Sequence[str]
    lane: int


@dataclass(frozen=True)
class LayerView:
    """A layer that computes, or that a group cuts.

    cut_by: the groups that cut its output and its input; None where it stays whole.
    macs, parameters: of the layer alone.
    obstacle: why its output stays whole; empty where it can be cut, or nothing is told.
    """

    name: str
    operator: str
    channels: tuple[int, int]
    kernel: Sequence[int]
    cut_by: tuple[str | None, str | None]
    macs: int
    parameters: int
    obstacle: str


@dataclass(frozen=True)
class ModelView:
    """A network with what its page needs.

    layers: without those that only normalise.
    jobs: the latest ones on it. policies: the latest ones for it, found or brought.
    datasets: the latest whose images it takes.
    """

    model: ModelDetailsBody
    layers: Sequence[LayerView]
    groups: Sequence[GroupView]
    sensitivity: SensitivityView | None
    jobs: Sequence[JobBody]
    policies: Sequence[PolicyOfJob]
    datasets: Sequence[DatasetRow]


def model_view(session: Session, model_id: str) -> ModelView:
    """Read a network and what is known of it; raises NotFound."""
    row = model_rows.get(session, model_id)
    graph = graph_from_json(row.details["graph"])
    layers = _layers(graph)
    found = browsing.jobs(
        session, JobFilter(model_id=model_id, kind=JobKind.SEARCH), limit=JOBS_SHOWN
    )
    return ModelView(
        model=model_details_body(row),
        layers=layers,
        groups=_groups(graph, [layer.name for layer in layers]),
        sensitivity=sensitivity_view(session, row),
        jobs=[job_body(each) for each in found.rows],
        policies=browsing.policies_for(session, model_id, JOBS_SHOWN),
        datasets=datasets.that_fit(session, row),
    )


def _layers(graph: LayerGraph) -> list[LayerView]:
    makers = {name: group.name for group in graph.groups for name in group.producers}
    takers = {name: group.name for group in graph.groups for name in group.consumers}
    obstacles = {name: each.reason for each in graph.obstacles for name in each.layers}
    costs = _costs(graph)
    return [
        LayerView(
            name=layer.name,
            operator=layer.operator,
            channels=(layer.in_channels, layer.out_channels),
            kernel=layer.kernel_size,
            cut_by=(makers.get(layer.name), takers.get(layer.name)),
            macs=costs[layer.name][0],
            parameters=costs[layer.name][1],
            obstacle=obstacles.get(layer.name, ""),
        )
        for layer in graph.layers
        if layer.kind != "other" or layer.name in {*makers, *takers, *obstacles}
    ]


def _costs(graph: LayerGraph) -> Mapping[str, tuple[int, int]]:
    """Return multiply-accumulates and parameters by layer."""
    found = {layer.name: (0, 0) for layer in graph.layers}
    for tensor in graph.tensors:
        name = tensor.name.rpartition(".")[0]
        if name in found:
            macs, parameters = found[name]
            entries = prod(axis.size(graph.full_widths) for axis in tensor.axes)
            found[name] = (
                macs + entries * tensor.positions,
                parameters + entries * tensor.is_parameter,
            )
    return found


def _groups(graph: LayerGraph, shown: Sequence[str]) -> list[GroupView]:
    place = {name: index for index, name in enumerate(shown)}
    touched = [[place[name] for name in (*g.producers, *g.consumers)] for g in graph.groups]
    chosen = lanes([(min(places), max(places)) for places in touched])
    return [
        GroupView(group.name, group.channels, group.producers, group.consumers, lane)
        for group, lane in zip(graph.groups, chosen, strict=True)
    ]
