"""Everything that the page shows on which two policies are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from automl_api.dashboard.policy_view import PolicyView, policy_view


@dataclass(frozen=True)
class GroupDiff:
    """What two policies keep of a group; `shared` channels are kept by both."""

    name: str
    channels: int
    kept: tuple[int, int]
    shared: int


@dataclass(frozen=True)
class LayerDiff:
    """A layer under two policies: bits as in `policy_view`, and what it costs, by metric."""

    name: str
    bits: tuple[str, str]
    costs: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class PolicyDiff:
    """Two policies side by side.

    is_same_network: otherwise only totals compare, and there are no groups and layers.
    layers: those that differ.
    equal_layers: how many do not.
    """

    policies: tuple[PolicyView, PolicyView]
    totals: Mapping[str, tuple[int, int]]
    is_same_network: bool
    groups: Sequence[GroupDiff]
    layers: Sequence[LayerDiff]
    equal_layers: int


def policy_diff(session: Session, first_id: str, second_id: str) -> PolicyDiff:
    """Read two policies and say where they differ; raises NotFound."""
    first, second = policy_view(session, first_id), policy_view(session, second_id)
    one, other = first.document, second.document
    is_same = _graph(one) == _graph(other)
    layers = _layers(first, second) if is_same else []
    differing = [
        each
        for each in layers
        if each.bits[0] != each.bits[1] or any(a != b for a, b in each.costs.values())
    ]
    return PolicyDiff(
        policies=(first, second),
        totals={
            metric: (one["totals"][metric]["after"], other["totals"][metric]["after"])
            for metric in one["totals"]
            if metric in other["totals"]
        },
        is_same_network=is_same,
        groups=_groups(one, other) if is_same else [],
        layers=differing,
        equal_layers=len(layers) - len(differing),
    )


def _graph(document: Mapping[str, Any]) -> str:
    return document["model"]["fingerprint"]["graph"]


def _groups(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[GroupDiff]:
    there = {each["name"]: each["channels"] for each in other["groups"]}
    found: list[GroupDiff] = []
    for group in one["groups"]:
        here, second = group["channels"], there[group["name"]]
        shared = len(set(here["kept"]) & set(second["kept"]))
        kept = (here["after"], second["after"])
        found.append(GroupDiff(group["name"], here["before"], kept, shared))
    return found


def _layers(first: PolicyView, second: PolicyView) -> list[LayerDiff]:
    there = {layer.name: layer for layer in second.layers}
    found: list[LayerDiff] = []
    for layer in first.layers:
        other = there[layer.name]
        costs = {metric: (cost, other.after[metric]) for metric, cost in layer.after.items()}
        found.append(LayerDiff(layer.name, (layer.bits, other.bits), costs))
    return found
