"""The state of all decisions at once, for agents that read the network's graph."""

from collections.abc import Sequence

import numpy as np

from automl_envs.observations import Observation
from automl_envs.walk import LayerWalk

DECISION_STATE = ("removed", "undecided", "current")


class DecisionsObservation:
    """The state of all D decisions of the space: three rows of D numbers, one behind the other.

    - `removed`: 1 less the share: of a width the fraction of channels that is cut so far.
    - `undecided`: 1 for decisions still to come.
    - `current`: 1 for those that the next action takes: all of them, since an agent that
      sees nothing else decides the whole network in one action.

    With the network's graph, which does not change, it is all that a graph encoder needs.
    """

    def __init__(self, walk: LayerWalk) -> None:
        """Name the features."""
        names = [decision.name for decision in walk.space.decisions]
        self.features: tuple[str, ...] = tuple(
            f"{state}.{name}" for state in DECISION_STATE for name in names
        )
        self.highest = np.ones(len(self.features), dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe every decision; when the walk is done, none is current. float32, (3 * D,)."""
        return self.state(walk, walk.undecided)

    def state(self, walk: LayerWalk, current: Sequence[int]) -> np.ndarray:
        """Describe every decision, with these as the current ones. float32, (3 * D,)."""
        undecided = list(walk.undecided)
        state = np.zeros((len(DECISION_STATE), len(walk.setting)), dtype=np.float32)
        state[0] = 1.0 - walk.space.shares(walk.setting)
        state[0, undecided] = 0.0
        state[1, undecided] = 1.0
        state[2, list(current)] = 1.0
        return state.reshape(-1)


class GraphObservation:
    """The F corrected features, and beside them the state of all D decisions.

    Current are only those that the site takes; none when the walk is done.
    """

    def __init__(self, walk: LayerWalk, corrected: Observation) -> None:
        """Put both parts together."""
        self._own, self._decisions = corrected, DecisionsObservation(walk)
        self.features: tuple[str, ...] = (*self._own.features, *self._decisions.features)
        self.highest = np.ones(len(self.features), dtype=np.float32)

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the site to decide now, then every decision. float32, (F + 3 * D,)."""
        current = () if walk.is_done else walk.site.decisions
        return np.concatenate([self._own.observe(walk), self._decisions.state(walk, current)])
