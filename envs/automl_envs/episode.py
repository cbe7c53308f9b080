"""One walk from the first site to the last, written down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from automl_compress.core import Policy
from automl_envs.observations import Observation
from automl_envs.walk import LayerWalk

Choose = Callable[[np.ndarray, LayerWalk], Sequence[float] | np.ndarray]
"""From an observation, and the walk that it describes, to an action: shares, (K,)."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What was seen and done in T steps, of K components each.

    observations: with the terminal one. float32, (T + 1, F).
    actions: shares as chosen, before bounds and rounding. float32, (T, K).
    realised: shares as they became. float32, (T, K).
    bounds: the lowest and the highest share of each component. float32, (T, K, 2).
    """

    observations: np.ndarray
    actions: np.ndarray
    realised: np.ndarray
    bounds: np.ndarray


def roll_out(walk: LayerWalk, observation: Observation, choose: Choose) -> tuple[Policy, Episode]:
    """Walk through all sites, from the first, and return the policy with the episode."""
    walk.reset()
    observations = [observation.observe(walk)]
    actions: list[Sequence[float] | np.ndarray] = []
    bounds: list[np.ndarray] = []
    while not walk.is_done:
        bounds.append(walk.bounds())
        actions.append(choose(observations[-1], walk))
        walk.step(actions[-1])
        observations.append(observation.observe(walk))
    episode = Episode(
        np.stack(observations),
        np.array(actions, dtype=np.float32),
        np.array(walk.realised, dtype=np.float32),
        np.array(bounds, dtype=np.float32),
    )
    return walk.policy(), episode


def towards(shares: Sequence[float] | np.ndarray) -> Choose:
    """Return what chooses at every site the shares that it has here.

    Args:
        shares: one for each decision of the space. (decisions,).
    """

    def choose(observation: np.ndarray, walk: LayerWalk) -> list[float]:
        return [1.0 if place is None else float(shares[place]) for place in walk.site.places]

    return choose
