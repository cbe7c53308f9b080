"""One walk from the first group to the last, written down."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from automl_compress.core import Policy
from automl_envs.observations import Observation
from automl_envs.walk import LayerWalk

Choose = Callable[[np.ndarray, LayerWalk], float]
"""From an observation, and the walk that it describes, to a keep ratio."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What was seen and done in T steps.

    observations: with the terminal one. float32, (T + 1, F).
    actions: keep ratios as chosen, before bounds and rounding. float32, (T,).
    realised: keep ratios as they became. float32, (T,).
    bounds: the lowest and the highest keep ratio of each step. float32, (T, 2).
    """

    observations: np.ndarray
    actions: np.ndarray
    realised: np.ndarray
    bounds: np.ndarray


def roll_out(walk: LayerWalk, observation: Observation, choose: Choose) -> tuple[Policy, Episode]:
    """Walk through all groups, from the first, and return the policy with the episode."""
    walk.reset()
    observations = [observation.observe(walk)]
    actions: list[float] = []
    bounds: list[tuple[float, float]] = []
    while not walk.is_done:
        bounds.append(walk.bounds())
        actions.append(float(choose(observations[-1], walk)))
        walk.step(actions[-1])
        observations.append(observation.observe(walk))
    episode = Episode(
        np.stack(observations),
        np.array(actions, dtype=np.float32),
        np.array(walk.realised, dtype=np.float32),
        np.array(bounds, dtype=np.float32),
    )
    return walk.policy(), episode
