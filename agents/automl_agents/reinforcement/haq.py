"""HAQ: AMC's agent over the bits of weights and activations."""

from collections.abc import Sequence

from automl_agents.reinforcement.amc import AmcSearcher
from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.bits_space import with_bits_alone
from automl_agents.reinforcement.haq_config import HaqConfig
from automl_agents.reinforcement.rewarded import behind_profile
from automl_compress.core import Searcher, SearchProblem
from automl_envs.haq_observation import HaqObservation
from automl_envs.haq_walk import HaqWalk
from automl_envs.observations import Observation
from automl_envs.rewards import Reward, published_haq_reward
from automl_envs.walk import LayerWalk


class HaqSearcher(AmcSearcher):
    """Decides bits alone; channels and densities stay whole where the space opens them.

    Corrected mode (the default) is AMC's: a step decides all bits of a layer, the episode is
    scaled to the budget, so that no layer pays for a late place, and what is stored is the walk
    through the policy that was measured. Published, rewards are credited to actions that the
    sweep undid, and the actor sees nothing of the budget.

    The published search tunes the network for an epoch in every episode and scores it on
    images that it tuned on. Here, in both modes, the recipe says how a candidate is scored.

    Source: Wang et al., HAQ (CVPR 2019), and the constants of mit-han-lab/haq.
    """

    def __init__(
        self,
        problem: SearchProblem,
        config: HaqConfig,
        seeds: Sequence[Sequence[int]] = (),
    ) -> None:
        """Initialise actor and critic from the problem's seed.

        Args:
            problem: where to search; its space may open more than bits.
            config: how.
            seeds: settings of bits within the budget, walked through in the warm-up of
                corrected mode; of the space that `with_bits_alone` makes.

        Raises:
            BudgetUnreachable: bits alone do not reach the budget.
            InvalidInput: the space opens no bits.
        """
        super().__init__(with_bits_alone(problem), config, seeds)

    def _paid(self, problem: SearchProblem, config: AmcConfig) -> Reward:
        if self._is_faithful and config.reward_of(problem) == "score":
            return published_haq_reward
        return super()._paid(problem, config)

    def _process(self, problem: SearchProblem, config: AmcConfig) -> tuple[LayerWalk, Observation]:
        if not self._is_faithful:
            return super()._process(problem, config)
        walk = HaqWalk(problem.space, problem.budget)
        return walk, HaqObservation(walk)

    def _transitions_kept(self, walk: LayerWalk) -> int:
        return len({site.layer for site in walk.order} if self._is_faithful else walk.order)


def create_haq(problem: SearchProblem, config: HaqConfig) -> Searcher:
    """Build the searcher, behind a profile of bits where it gets a share."""
    bits = with_bits_alone(problem)
    return behind_profile(bits, config, lambda seeds: HaqSearcher(problem, config, seeds))
