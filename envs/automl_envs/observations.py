"""What the actor sees before it decides a group: AMC's vector as published, and corrected."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from automl_compress.core import Metric
from automl_compress.core.errors import InvalidInput
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
        """Describe the site to decide now; the last one when the walk is done. float32, (F,)."""
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
        """Lay out the static columns, one row for each visited group, and `rest`.

        Raises:
            InvalidInput: the walk does not go from group to group.
        """
        graph, groups = walk.space.graph, _groups_of(walk)
        rows = [(step, *shape_features(graph, group)) for step, group in enumerate(groups)]
        self._static = min_max_by_column(np.array(rows, dtype=np.float64))  # (steps, 7)
        self._rest = published_rest(graph, groups)
        top = np.maximum(self._static.max(axis=0), 1.0)
        self.highest = np.array([*top, 1.0, 1.0, 1.0], dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the group to decide now; the last decision again when the walk is done."""
        step = min(walk.steps, len(walk.order) - 1)
        previous = walk.realised[step - 1][0] if step else 1.0
        reduced = _removed_share(walk, walk.setting_before(step), "macs") if step else 0.0
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
        """Lay out the static columns, one row for each visited group.

        Raises:
            InvalidInput: the walk does not go from group to group.
        """
        graph = walk.space.graph
        total = max(sum(layer_macs(graph, layer) for layer in graph.layers), 1)
        rows = [
            (
                step,
                *shape_features(graph, group),
                *extent_features(graph, group),
                group_macs(graph, group) / total,
            )
            for step, group in enumerate(_groups_of(walk))
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
        previous = walk.realised[-1][0] if walk.realised else 1.0
        row = [*self._static[step], reduced, at_most - reduced, previous]
        return np.clip(np.array(row, dtype=np.float32), 0.0, self.highest)


def _groups_of(walk: LayerWalk) -> list[int]:
    if walk.kinds != ("width",):
        raise InvalidInput(
            f"this observation describes groups, and the walk decides {', '.join(walk.kinds)} of "
            "layers; create one by the name 'corrected'"
        )
    return [site.decisions[0] for site in walk.order]


def _removed_share(walk: LayerWalk, setting: Sequence[int], metric: Metric) -> float:
    return 1.0 - walk.space.costs.cost(setting).of(metric) / walk.space.full.of(metric)
