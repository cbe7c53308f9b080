"""What the reward of an agent's configuration means for its search.

Where a reward pays for a lower cost, the budget is only the most that a policy may cost: the
warm-up then draws its policies at many costs, not all at the budget.
"""

from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.warm_start import Create, warm_started
from automl_compress.core import Budget, Searcher, SearchProblem
from automl_envs.rewards import Reward, create_reward

SEED_SHARES = (1.0, 0.75, 0.5, 0.25)  # of the costs that can be reached


def reward_of(problem: SearchProblem, config: AmcConfig) -> Reward:
    """Return what an episode is paid; raises InvalidInput where it lacks an accuracy floor."""
    name = config.reward_of(problem)
    return create_reward(name, problem.budget.metric, problem.accuracy_floor)


def behind_profile(problem: SearchProblem, config: AmcConfig, create: Create) -> Searcher:
    """Return the searcher, behind a sensitivity profile where it gets a share of the effort."""
    shares = SEED_SHARES if config.pays_for_cost(problem) else (1.0,)
    budgets = [budget_below(problem, share) for share in shares]
    return warm_started(problem, config.profile_share, create, budgets)


def budget_below(problem: SearchProblem, share: float) -> Budget:
    """Return a budget that lies so far from the cheapest policy (0) to the problem's own (1)."""
    space, budget = problem.space, problem.budget
    if share == 1.0:
        return budget
    least = space.costs.cost(space.smallest).of(budget.metric) + 1.0  # of rounding
    limit = least + share * (budget.limit(space.full) - least)
    return Budget(budget.metric, min(limit / space.full.of(budget.metric), budget.ratio))
