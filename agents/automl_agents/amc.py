"""AMC: a DDPG agent that decides the keep ratio of one coupled group after the other."""

import math
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from gymnasium import spaces

from automl_agents.amc_config import AmcConfig
from automl_agents.ddpg import EpisodeDdpg
from automl_agents.ledger import TrialLedger
from automl_agents.noise import truncated_normal
from automl_agents.random_stream import random_stream
from automl_compress.core import Policy, SearchProblem, Snapshot, Suggestion, Trial
from automl_compress.core.errors import WrongState
from automl_envs.episode import Choose, Episode, roll_out
from automl_envs.observations import create_observation
from automl_envs.rewards import Reward, score_under_budget
from automl_envs.walk import LayerWalk, WalkRules

SNAPSHOT_LAYOUT = 1
MOST_EPISODES = 1000  # in the replay, where the configuration leaves it open
PARTS = tuple(each.name for each in fields(Episode))
ASKING, LEARNING = 0, 1  # what a random stream is for


class AmcSearcher:
    """Rolls its actor through the layer walk when asked, learns when told.

    Corrected mode (the default) differs from AMC's code in that: it observes spatial size, MACs
    and an honest account of the budget; warm-up policies are drawn at the budget, the first is
    the uniform one; noise is cut off at the bounds of the walk; an episode is scaled to the
    budget; what is stored is the walk through the policy that was measured; every transition
    is sampled; learning begins with the first batch.

    Source: He et al., AMC (ECCV 2018), and the constants of mit-han-lab/amc.
    """

    def __init__(
        self, problem: SearchProblem, config: AmcConfig, reward: Reward = score_under_budget
    ) -> None:
        """Initialise actor and critic from the problem's seed.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._problem, self.config, self._reward = problem, config, reward
        is_faithful = config.mode == "faithful"
        self._walk = LayerWalk(problem.space, problem.budget, WalkRules(config.limit))
        self._observation = create_observation(
            "published" if is_faithful else "corrected", self._walk
        )
        self._warmup = config.warmup(problem.effort)
        episodes = config.replay_episodes or min(
            max(round(problem.effort.evaluations), 1), MOST_EPISODES
        )
        highest = self._observation.highest
        self._agent = EpisodeDdpg(
            spaces.Box(np.zeros_like(highest), highest, dtype=np.float32),
            config,
            episodes * len(self._walk.order),
            problem.seed,
        )
        self._ledger = TrialLedger()
        self._waiting: dict[int, Episode] = {}

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        number = self._ledger.asked
        rng = random_stream(self._problem.seed, ASKING, number)
        sigma = self.config.sigma(number, self._problem.effort)
        if number >= self._warmup:
            choose, note = self._around_actor(rng, sigma), f"actor, noise {sigma:.3f}"
        elif self.config.mode == "faithful":
            choose, note = _uniform_actions(rng), "warm-up"
        else:
            choose, note = self._at_budget(rng, is_first=number == 0), "warm-up at the budget"
        policy, self._waiting[number] = roll_out(self._walk, self._observation, choose)
        return self._ledger.suggest(policy, note)

    def waiting(self, number: int) -> Episode:
        """Return the episode of a suggestion that waits for its trial; KeyError without one."""
        return self._waiting[number]

    def _around_actor(self, rng: np.random.Generator, sigma: float) -> Choose:
        def choose(observation: np.ndarray, walk: LayerWalk) -> float:
            mean = self._agent.keep_ratio(observation)
            lowest, highest = (0.0, 1.0) if self.config.mode == "faithful" else walk.bounds()
            return truncated_normal(rng, mean, sigma, lowest, highest)

        return choose

    def _at_budget(self, rng: np.random.Generator, is_first: bool) -> Choose:
        space, budget = self._problem.space, self._problem.budget
        return _towards(space.uniform(budget) if is_first else space.sample(rng, budget))

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
        if self.config.mode == "faithful":
            actions, starts_at = episode.actions, self._warmup + 1
        else:
            episode = self._lived_through(trial.policy)
            actions, starts_at = episode.realised, 1
        replay = self._agent.replay
        replay.add_episode(episode.observations, 2.0 * actions - 1.0, reward)
        if self._ledger.told >= starts_at and replay.size() >= self.config.batch_size:
            replay.rng = random_stream(self._problem.seed, LEARNING, self._ledger.told)
            self._agent.train(len(actions), self.config.batch_size)

    def _lived_through(self, policy: Policy) -> Episode:
        """Return the episode whose actions were the policy's keep ratios, repairs included."""
        widths = policy.widths(self._problem.space.graph)
        return roll_out(self._walk, self._observation, _towards(widths))[1]

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


def _uniform_actions(rng: np.random.Generator) -> Choose:
    def choose(observation: np.ndarray, walk: LayerWalk) -> float:
        return rng.uniform()

    return choose


def _towards(widths: Sequence[int]) -> Choose:
    def choose(observation: np.ndarray, walk: LayerWalk) -> float:
        return widths[walk.group] / walk.space.graph.groups[walk.group].channels

    return choose
