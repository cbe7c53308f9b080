"""AMC: a DDPG agent that decides the keep ratio of one coupled group after the other."""

from collections.abc import Sequence

import numpy as np

from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.ddpg import EpisodeDdpg
from automl_agents.reinforcement.episode_searcher import (
    EpisodeSearcher,
    Parts,
    observation_box,
)
from automl_agents.reinforcement.rewarded import behind_profile, reward_of
from automl_compress.core import Searcher, SearchProblem, Trial
from automl_envs.episode import Choose, Episode
from automl_envs.observation_catalogue import create_observation
from automl_envs.observations import Observation
from automl_envs.rewards import Reward
from automl_envs.walk import LayerWalk, WalkRules


class AmcSearcher(EpisodeSearcher):
    """Rolls its actor through the layer walk when asked, learns when told.

    Corrected mode (the default) differs from AMC's code in that: it observes spatial size, MACs
    and an honest account of the budget; warm-up policies are at the budget, the first ones
    uniform and a knapsack's solutions; noise is cut off at the bounds of the walk; an episode
    is scaled to the budget; what is stored is the walk through the policy that was measured;
    every transition is sampled; learning begins with the first batch. Where the space opens
    more than widths, an action decides all that is open of a layer.

    Source: He et al., AMC (ECCV 2018), and the constants of mit-han-lab/amc.
    """

    def __init__(
        self,
        problem: SearchProblem,
        config: AmcConfig,
        seeds: Sequence[Sequence[int]] = (),
    ) -> None:
        """Initialise actor and critic from the problem's seed.

        Args:
            problem: where to search.
            config: how.
            seeds: settings within the budget, walked through in the warm-up of corrected mode.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            InvalidInput: published forms, where more than widths is open; or a reward that
                needs an accuracy floor, where there is none.
        """
        self._is_faithful = config.mode == "faithful"
        walk, observation = self._process(problem, config)
        agent = EpisodeDdpg(
            observation_box(observation),
            config,
            config.episodes_kept(problem.effort) * self._transitions_kept(walk),
            problem.seed,
            actions=len(walk.kinds),
        )
        paid = self._paid(problem, config)
        super().__init__(problem, config, paid, Parts(walk, observation, agent), seeds)

    def _paid(self, problem: SearchProblem, config: AmcConfig) -> Reward:
        """Return the reward of an episode."""
        return reward_of(problem, config)

    def _process(self, problem: SearchProblem, config: AmcConfig) -> tuple[LayerWalk, Observation]:
        """Return what the actor walks through, and how it sees it."""
        walk = LayerWalk(problem.space, problem.budget, WalkRules(config.limit_of(problem)))
        name = "published" if self._is_faithful else "corrected"
        return walk, create_observation(name, walk)

    def _transitions_kept(self, walk: LayerWalk) -> int:
        """Return the transitions in the replay for each of its episodes."""
        return len(walk.order)

    def _plan(self, number: int, rng: np.random.Generator) -> tuple[Choose, str]:
        if self._is_faithful and number < self._warmup:
            return _uniform_actions(rng, len(self._walk.kinds)), "warm-up"
        return super()._plan(number, rng)

    def _noise_bounds(self) -> np.ndarray:
        if self._is_faithful:
            return np.tile([0.0, 1.0], (len(self._walk.kinds), 1))
        return super()._noise_bounds()

    def _lesson(self, trial: Trial, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
        if self._is_faithful:
            return episode.observations, episode.actions
        return super()._lesson(trial, episode)

    def _is_learning(self) -> bool:
        is_warm = not self._is_faithful or self._ledger.told > self._warmup
        return is_warm and super()._is_learning()


def create_amc(problem: SearchProblem, config: AmcConfig) -> Searcher:
    """Build AMC, behind a sensitivity profile where the configuration gives it a share."""
    return behind_profile(problem, config, lambda seeds: AmcSearcher(problem, config, seeds))


def _uniform_actions(rng: np.random.Generator, size: int) -> Choose:
    def choose(observation: np.ndarray, walk: LayerWalk) -> np.ndarray:
        return rng.uniform(size=size)

    return choose
