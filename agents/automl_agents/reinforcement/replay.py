"""Past transitions, each paid with the final reward of its episode."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

STORED = ("observations", "next_observations", "actions", "rewards", "dones")


class EpisodeReplay(ReplayBuffer):
    """Stable-Baselines3's buffer, filled an episode at a time, sampled by a given generator.

    Every transition of an episode gets the episode's final reward (AMC, section 3.4 of the
    paper). Stock buffers draw from numpy's global generator, which no snapshot could hold.

    skips_first: leave each episode's first transition out of every batch. AMC's public code
        does so by accident: its indexing expects an entry between episodes that is not there.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = False,
        *,
        skips_first: bool = False,
    ) -> None:
        """Take a place for `buffer_size` transitions."""
        super().__init__(
            buffer_size,
            observation_space,
            action_space,
            device,
            n_envs,
            optimize_memory_usage=False,
            handle_timeout_termination=False,
        )
        self.rng = np.random.default_rng(0)
        self._skips_first = skips_first
        self._is_first = np.zeros(buffer_size, dtype=bool)
        self._eligible = np.arange(0)

    def add_episode(self, observations: np.ndarray, actions: np.ndarray, reward: float) -> None:
        """Store an episode; the oldest transitions make room.

        Args:
            observations: one more than steps, the terminal one included. float32, (T + 1, F).
            actions: scaled to [-1, 1]. float32, (T,) or (T, A).
            reward: of the whole episode.
        """
        steps = len(actions)
        places = (self.pos + np.arange(steps)) % self.buffer_size
        self.observations[places, 0] = observations[:-1]
        self.next_observations[places, 0] = observations[1:]
        self.actions[places, 0] = actions.reshape(steps, -1)
        self.rewards[places, 0] = reward
        self.dones[places, 0] = np.arange(steps) == steps - 1
        self._is_first[places] = np.arange(steps) == 0
        self.full = self.full or self.pos + steps >= self.buffer_size
        self.pos = (self.pos + steps) % self.buffer_size
        self._find_eligible()

    def _find_eligible(self) -> None:
        stored = np.arange(self.size())
        later = stored[~self._is_first[: self.size()]]
        # Episodes of one step consist of first transitions only.
        self._eligible = later if self._skips_first and len(later) else stored

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch, with repetitions."""
        return self._get_samples(self.rng.choice(self._eligible, batch_size), env)

    def _get_samples(
        self, batch_inds: np.ndarray, env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        return ReplayBufferSamples(
            torch.from_numpy(self.observations[batch_inds, 0]),
            torch.from_numpy(self.actions[batch_inds, 0]),
            torch.from_numpy(self.next_observations[batch_inds, 0]),
            torch.from_numpy(self.dones[batch_inds]),
            torch.from_numpy(self.rewards[batch_inds]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of what is stored, with the place of the next transition."""
        stored = {name: getattr(self, name)[: self.size()].copy() for name in STORED}
        stored["is_first"] = self._is_first[: self.size()].copy()
        stored["position"] = np.array([self.pos, int(self.full)], dtype=np.int64)
        return stored

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `arrays` returned."""
        self.pos, self.full = int(arrays["position"][0]), bool(arrays["position"][1])
        for name in STORED:
            getattr(self, name)[: self.size()] = arrays[name]
        self._is_first[: self.size()] = arrays["is_first"]
        self._find_eligible()
