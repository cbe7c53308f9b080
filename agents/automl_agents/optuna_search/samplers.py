"""The searchers `tpe`, `nsga2`, `cmaes` and `gp`: which sampler of Optuna, with what settings."""

from collections.abc import Sequence

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler

from automl_agents.optuna_search.cma_sampler import CmaSampler
from automl_agents.optuna_search.config import CmaesConfig, GpConfig, Nsga2Config, TpeConfig
from automl_agents.optuna_search.parameters import Parameters
from automl_agents.optuna_search.searcher import OptunaSearcher
from automl_agents.warm_start import warm_started
from automl_compress.core import Searcher, SearchProblem

Seeds = Sequence[tuple[int, ...]]


def create_tpe(problem: SearchProblem, config: TpeConfig) -> Searcher:
    """Search by a tree-structured Parzen estimator.

    Multivariate: good allocations are values that go together, which one density for each
    decision cannot say.

    Source: Bergstra et al. (NIPS 2011); Falkner et al., BOHB (ICML 2018), for several variables.
    """

    def create(seed: int) -> BaseSampler:
        return TPESampler(
            n_startup_trials=config.startup_evaluations,
            n_ei_candidates=config.candidates,
            multivariate=True,
            constant_liar=True,
            seed=seed,
        )

    def search(seeds: Seeds) -> Searcher:
        handling, draws = config.budget_handling, config.draws
        return OptunaSearcher(problem, create, budget_handling=handling, draws=draws, seeds=seeds)

    return warm_started(problem, config.profile_share, search)


def create_nsga2(problem: SearchProblem, config: Nsga2Config) -> Searcher:
    """Search by NSGA-II, with one objective.

    Source: Deb et al., NSGA-II (IEEE Transactions on Evolutionary Computation, 2002).
    """

    def create(seed: int) -> BaseSampler:
        return NSGAIISampler(
            population_size=config.size(problem.effort),
            mutation_prob=config.mutation_rate,
            crossover_prob=config.crossover_rate,
            seed=seed,
        )

    def search(seeds: Seeds) -> Searcher:
        handling, draws = config.budget_handling, config.draws
        return OptunaSearcher(problem, create, budget_handling=handling, draws=draws, seeds=seeds)

    return warm_started(problem, config.profile_share, search)


def create_cmaes(problem: SearchProblem, config: CmaesConfig) -> Searcher:
    """Search by CMA-ES that begins at the knapsack's solution, or else at the uniform policy."""
    parameters = Parameters(problem.space, problem.budget.metric)
    uniform = problem.space.uniform(problem.budget)

    def search(seeds: Seeds) -> Searcher:
        mean = parameters.of_setting(seeds[0] if seeds else uniform)

        def create(seed: int) -> BaseSampler:
            return CmaSampler(parameters.distributions, mean, config.sigma, config.population, seed)

        return OptunaSearcher(problem, create, seeds=seeds)

    return warm_started(problem, config.profile_share, search)


def create_gp(problem: SearchProblem, config: GpConfig) -> Searcher:
    """Search by a Gaussian process with a Matern kernel and the logarithm of the improvement.

    Source: Ament et al., Unexpected Improvements to Expected Improvement (NeurIPS 2023).
    """

    def create(seed: int) -> BaseSampler:
        return GPSampler(
            n_startup_trials=config.startup_evaluations,
            warn_independent_sampling=False,
            seed=seed,
        )

    def search(seeds: Seeds) -> Searcher:
        return OptunaSearcher(problem, create, keeps_scale=True, seeds=seeds)

    return warm_started(problem, config.profile_share, search)
