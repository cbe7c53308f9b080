"""What the agents share that walk through a network and learn from whole episodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from gymnasium import spaces

from automl_agents.ledger import TrialLedger
from automl_agents.random_stream import random_stream
from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.ddpg import EpisodeDdpg
from automl_agents.reinforcement.noise import truncated_normal
from automl_agents.reinforcement.rewarded import budget_below
from automl_compress.core import Policy, SearchProblem, Snapshot, Suggestion, Trial
from automl_compress.core.errors import WrongState
from automl_envs.episode import Choose, Episode, roll_out, towards
from automl_envs.observations import Observation
from automl_envs.rewards import Reward
from automl_envs.walk import LayerWalk

SNAPSHOT_LAYOUT = 2
PARTS = tuple(each.name for each in fields(Episode))
ASKING, LEARNING = 0, 1  # what a random stream is for
SEED_SPREAD = 0.2  # of the logarithm of a share, in draws around a seed


@dataclass(frozen=True)
class Parts:
    """What a searcher of episodes is made of; the observation is that of the walk."""

    walk: LayerWalk
    observation: Observation
    agent: EpisodeDdpg


class EpisodeSearcher:
    """Rolls its actor through the layer walk when asked, learns when told.

    As it stands it is the corrected form of AMC's search. Warm-up policies are at the budget,
    where the reward pays for a lower cost at budgets drawn below it: the uniform one, the given
    seeds, then draws, half of them around the seeds. Noise is cut
    off at the bounds of the walk. What is stored is the walk through the policy that was
    measured. Learning begins with the first batch. Published forms replace `_plan` and
    `_lesson`.
    """

    def __init__(
        self,
        problem: SearchProblem,
        config: AmcConfig,
        reward: Reward,
        parts: Parts,
        seeds: Sequence[Sequence[int]] = (),
    ) -> None:
        """Begin at the first ask; seeds are settings within the budget."""
        self.config, self._seeds = config, tuple(seeds)
        self._problem, self._reward = problem, reward
        self._walk, self._observation, self._agent = parts.walk, parts.observation, parts.agent
        self._warmup = config.warmup(problem.effort)
        self._ledger = TrialLedger()
        self._waiting: dict[int, Episode] = {}

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        number = self._ledger.asked
        choose, note = self._plan(number, random_stream(self._problem.seed, ASKING, number))
        policy, self._waiting[number] = roll_out(self._walk, self._observation, choose)
        return self._ledger.suggest(policy, note)

    def waiting(self, number: int) -> Episode:
        """Return the episode of a suggestion that waits for its trial; KeyError without one."""
        return self._waiting[number]

    def _plan(self, number: int, rng: np.random.Generator) -> tuple[Choose, str]:
        """Return how the next walk's actions are chosen, and the note that says so."""
        if number < self._warmup:
            setting, note = self._at_budget(number, rng)
            return towards(self._problem.space.shares(setting)), note
        sigma = self.config.sigma(number, self._problem.effort)
        return self._around_actor(rng, sigma), f"actor, noise {sigma:.3f}"

    def _around_actor(self, rng: np.random.Generator, sigma: float) -> Choose:
        def choose(observation: np.ndarray, walk: LayerWalk) -> list[float]:
            means, bounds = self._agent.shares(observation).tolist(), self._noise_bounds().tolist()
            return [
                truncated_normal(rng, mean, sigma, lowest, highest)
                for mean, (lowest, highest) in zip(means, bounds, strict=True)
            ]

        return choose

    def _noise_bounds(self) -> np.ndarray:
        """Return between what each component is drawn now; (K, 2)."""
        return self._walk.bounds()

    def _at_budget(self, number: int, rng: np.random.Generator) -> tuple[Sequence[int], str]:
        space, budget = self._problem.space, self._problem.budget
        if number == 0:
            return space.uniform(budget), "warm-up: the uniform policy"
        if self.config.pays_for_cost(self._problem):
            budget = budget_below(self._problem, rng.uniform())
        if number <= len(self._seeds):
            return self._seeds[number - 1], "warm-up: a knapsack's solution"
        if number % 2 and self._seeds:
            seed = space.shares(self._seeds[rng.integers(len(self._seeds))])
            drawn = np.minimum(seed * np.exp(rng.normal(0.0, SEED_SPREAD, len(seed))), 1.0)
            return space.project(drawn.tolist(), budget), "warm-up around a knapsack's solution"
        return space.sample(rng, budget), "warm-up at the budget"

    def tell(self, trial: Trial) -> None:
        """Store the episode with its reward and learn; a failed trial teaches nothing.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        episode = self._waiting.pop(trial.number)
        if trial.measurement is None:
            return
        reward = self._reward(trial.measurement, self._problem.space.full)
        if not math.isfinite(reward):
            return
        observations, shares = self._lesson(trial, episode)
        replay = self._agent.replay
        replay.add_episode(observations, 2.0 * shares - 1.0, reward)
        if self._is_learning():
            replay.rng = random_stream(self._problem.seed, LEARNING, self._ledger.told)
            self._agent.train(len(shares), self.config.batch_size)

    def _lesson(self, trial: Trial, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
        """Return what is stored of a trial.

        Returns:
            observations, (T + 1, F), and shares, (T, A), both float32. There is one update
            for each of the T transitions.
        """
        lived = self._lived_through(trial.policy)
        return lived.observations, lived.realised

    def _is_learning(self) -> bool:
        """Say whether the trial that was just told leads to updates."""
        return self._agent.replay.size() >= self.config.batch_size

    def _lived_through(self, policy: Policy) -> Episode:
        """Return the episode whose actions were the policy's shares, repairs included."""
        space = self._problem.space
        chosen = towards(space.shares(space.setting(policy)))
        return roll_out(self._walk, self._observation, chosen)[1]

    def snapshot(self) -> Snapshot:
        """Return networks, optimisers, replay, waiting episodes and counts."""
        values = {
            "layout": SNAPSHOT_LAYOUT,
            "mode": self.config.mode,
            "ledger": self._ledger.to_json(),
            "baseline": self._agent.baseline,
        }
        arrays = self._agent.arrays()
        for number, episode in self._waiting.items():
            for part in PARTS:
                arrays[f"waiting.{number}.{part}"] = getattr(episode, part).copy()
        return Snapshot(values, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot.

        Raises:
            WrongState: it was made by another version or mode.
        """
        values, arrays = snapshot.values, snapshot.arrays
        made = (values.get("layout"), values.get("mode"))
        if made != (SNAPSHOT_LAYOUT, self.config.mode):
            raise WrongState(
                f"the snapshot has layout {made[0]!r} of mode {made[1]!r}; this searcher reads "
                f"layout {SNAPSHOT_LAYOUT} of mode {self.config.mode!r}; start a new study"
            )
        self._ledger.restore(values["ledger"])
        self._agent.baseline = values["baseline"]
        self._agent.restore(arrays)
        self._waiting = {
            number: Episode(*(arrays[f"waiting.{number}.{part}"].copy() for part in PARTS))
            for number in self._ledger.open
        }


def observation_box(observation: Observation) -> spaces.Box:
    """Return the space in which an observation lies."""
    highest = observation.highest
    return spaces.Box(np.zeros_like(highest), highest, dtype=np.float32)
