"""What the actor sees before it decides a group: AMC's vector as published, and corrected."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from automl_compress.core import Metric
from automl_compress.core.errors import UnknownName
from automl_envs.features import (
    extent_features,
    group_macs,
    layer_macs,
    min_max_by_column,
    published_rest,
    shape_features,
)
from automl_envs.walk import LayerWalk


class Observation(Protocol):
    """Describes the state of a walk as F numbers.

    Attributes:
        features: the names of the F numbers, in order.
        highest: the largest value that each can have; the smallest is 0. float32, (F,).
    """

    features: tuple[str, ...]
    highest: np.ndarray

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the group to decide now; the last one when the walk is done. float32, (F,)."""
        ...


class PublishedObservation:
    """AMC's ten features, with what is odd about them.

    - `reduced` counts groups still to come as already cut to the walk's assumed widths.
    - `rest` holds all depthwise layers at any time, and starts in another unit
      (`published_rest`).
    - There is no spatial size: equal layers at different resolutions differ by index only.
    - Columns that are constant over the groups are not normalised.
    - The terminal observation is that of the last decision.

    Source: mit-han-lab/amc, env/channel_pruning_env.py.
    """

    features: tuple[str, ...] = (
        "index", "is_linear", "in_channels", "out_channels", "stride", "kernel", "weights",
        "reduced", "rest", "previous_keep",
    )  # fmt: skip

    def __init__(self, walk: LayerWalk) -> None:
        """Lay out the static columns, one row for each visited group, and `rest`."""
        graph = walk.space.graph
        rows = [(step, *shape_features(graph, group)) for step, group in enumerate(walk.order)]
        self._static = min_max_by_column(np.array(rows, dtype=np.float64))  # (steps, 7)
        self._rest = published_rest(graph, walk.order)
        top = np.maximum(self._static.max(axis=0), 1.0)
        self.highest = np.array([*top, 1.0, 1.0, 1.0], dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the group to decide now; the last decision again when the walk is done."""
        step = min(walk.steps, len(walk.order) - 1)
        previous = walk.realised[step - 1] if step else 1.0
        reduced = _removed_share(walk, walk.widths_before(step), "macs") if step else 0.0
        row = [*self._static[step], reduced, self._rest[step], previous]
        return np.clip(np.array(row, dtype=np.float32), 0.0, self.highest)


class CorrectedObservation:
    """Thirteen features: spatial size and MACs added, and an honest account of the budget.

    - `reduced`: share of the uncut network's cost that the decided groups have removed.
    - `rest`: share that the groups still to come can remove at most.
    - Both are in the budget's metric, whichever that is.
    - Columns that are constant over the groups are divided by their value where it exceeds 1,
      so that all features lie in [0, 1].

    Source: the features of the AMC paper (h, w, FLOPs[t]) joined with those of its code.
    """

    features: tuple[str, ...] = (
        "index", "is_linear", "in_channels", "out_channels", "stride", "kernel", "weights",
        "height", "width", "macs_share", "reduced", "rest", "previous_keep",
    )  # fmt: skip

    def __init__(self, walk: LayerWalk) -> None:
        """Lay out the static columns, one row for each visited group."""
        graph = walk.space.graph
        total = max(sum(layer_macs(graph, layer) for layer in graph.layers), 1)
        rows = [
            (
                step,
                *shape_features(graph, group),
                *extent_features(graph, group),
                group_macs(graph, group) / total,
            )
            for step, group in enumerate(walk.order)
        ]
        scaled = min_max_by_column(np.array(rows, dtype=np.float64))
        self._static = scaled / np.maximum(scaled.max(axis=0), 1.0)  # (steps, 10)
        self.highest = np.ones(len(self.features), dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the group to decide now; the last one, decided, when the walk is done."""
        step = min(walk.steps, len(walk.order) - 1)
        space, metric = walk.space, walk.budget.metric
        reduced = _removed_share(walk, walk.with_undecided(space.largest), metric)
        at_most = _removed_share(walk, walk.with_undecided(space.smallest), metric)
        previous = walk.realised[-1] if walk.realised else 1.0
        row = [*self._static[step], reduced, at_most - reduced, previous]
        return np.clip(np.array(row, dtype=np.float32), 0.0, self.highest)


GROUP_STATE = ("removed", "undecided", "current")


class GroupsObservation:
    """The state of all G groups: three rows of G numbers, one behind the other.

    - `removed`: the fraction of the group's channels that the walk has cut so far.
    - `undecided`: 1 for groups still to come.
    - `current`: 1 for those that the next action decides: all of them, since an agent that
      sees nothing else decides the whole network in one action.

    With the network's graph, which does not change, it is all that a graph encoder needs.
    """

    def __init__(self, walk: LayerWalk) -> None:
        """Name the features."""
        names = [group.name for group in walk.space.graph.groups]
        self.features: tuple[str, ...] = tuple(f"{s}.{name}" for s in GROUP_STATE for name in names)
        self.highest = np.ones(len(self.features), dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe every group; when the walk is done, none is current. float32, (3 * G,)."""
        return self.state(walk, walk.order[walk.steps :])

    def state(self, walk: LayerWalk, current: Sequence[int]) -> np.ndarray:
        """Describe every group, with these as the current ones. float32, (3 * G,)."""
        full = walk.space.graph.full_widths
        undecided = list(walk.order[walk.steps :])
        state = np.zeros((len(GROUP_STATE), len(full)), dtype=np.float32)
        state[0] = 1.0 - np.array(walk.widths) / full
        state[0, undecided] = 0.0
        state[1, undecided] = 1.0
        state[2, list(current)] = 1.0
        return state.reshape(-1)


class GraphObservation:
    """The corrected features, and beside them the state of all G groups, for a graph encoder.

    Of the groups only the one to decide now is current; none when the walk is done.
    """

    def __init__(self, walk: LayerWalk) -> None:
        """Lay out both parts."""
        self._own, self._groups = CorrectedObservation(walk), GroupsObservation(walk)
        self.features: tuple[str, ...] = (*self._own.features, *self._groups.features)
        self.highest = np.ones(len(self.features), dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the group to decide now, then every group. float32, (13 + 3 * G,)."""
        current = () if walk.is_done else (walk.group,)
        return np.concatenate([self._own.observe(walk), self._groups.state(walk, current)])


OBSERVATIONS: Mapping[str, Callable[[LayerWalk], Observation]] = {
    "published": PublishedObservation,
    "corrected": CorrectedObservation,
    "groups": GroupsObservation,
    "graph": GraphObservation,
}


def create_observation(name: str, walk: LayerWalk) -> Observation:
    """Build the observation of this name for walks like this one; raises UnknownName."""
    if name not in OBSERVATIONS:
        raise UnknownName("observation", name, OBSERVATIONS)
    return OBSERVATIONS[name](walk)


def _removed_share(walk: LayerWalk, widths: Sequence[int], metric: Metric) -> float:
    return 1.0 - walk.space.costs.cost(widths).of(metric) / walk.space.full.of(metric)
