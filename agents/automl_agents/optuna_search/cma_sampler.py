"""CMA-ES as an Optuna sampler whose whole state is in the study's trials."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cmaes import CMAwM
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

GENERATION = "cma:generation"  # attribute of a trial: which generation it was drawn in
PARENTS = "cma:parents"  # attribute of a generation's first trial: numbers that it learned from


class CmaSampler(BaseSampler):
    """Draws from the distribution that the finished generations have shaped.

    Optuna's own CmaEsSampler keeps its optimiser pickled in the trials, which no snapshot of
    ours may hold, and gives up choosing where to begin. Here the trials say which of them made
    each generation; the optimiser is rebuilt from them for every ask, a fraction of a
    millisecond for each generation, so that a restored study draws what it would have drawn.

    Source: Hansen, The CMA Evolution Strategy: A Tutorial (arXiv 1604.00772), and for integers
    Hamano et al., CMA-ES with Margin (GECCO 2022), which keeps them from settling on a value
    too early; by the package `cmaes`.
    """

    def __init__(
        self,
        distributions: Mapping[str, FloatDistribution | IntDistribution],
        mean: Mapping[str, float],
        sigma: float,
        population: int | None,
        seed: int,
    ) -> None:
        """Take the place to begin at.

        Args:
            distributions: of every parameter, by name.
            mean: of the first generation.
            sigma: first standard deviation, as a share of each parameter's range.
            population: trials in a generation; None for the tutorial's 4 + 3 ln(parameters).
            seed: of the next draw.
        """
        self._distributions = dict(distributions)
        self._low = np.array([each.low for each in distributions.values()])
        self._range = np.array([each.high for each in distributions.values()]) - self._low
        # In units of the range; 0 for what is continuous.
        self._steps = np.array([_step(each) for each in distributions.values()])
        self._mean, self._sigma, self._population = self._unit(mean), sigma, population
        self._seed = seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every parameter."""
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all parameters; closes the generation before where it is complete."""
        if not search_space:
            return {}
        trials = study.get_trials(deepcopy=False)
        optimizer = self._rebuilt(trials)
        members = [
            each
            for each in trials
            if each.state is TrialState.COMPLETE
            and each.system_attrs.get(GENERATION) == optimizer.generation
        ][: optimizer.population_size]
        storage, place = study._storage, trial._trial_id
        if len(members) == optimizer.population_size:
            self._learn(optimizer, members)
            storage.set_trial_system_attr(place, PARENTS, [each.number for each in members])
        storage.set_trial_system_attr(place, GENERATION, optimizer.generation)
        optimizer.reseed_rng(self._seed)
        drawn = self._low + optimizer.ask()[0] * self._range
        found = zip(self._distributions.items(), drawn.tolist(), strict=True)
        return {
            name: round(value) if isinstance(limits, IntDistribution) else value
            for (name, limits), value in found
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse a parameter that was not announced."""
        raise KeyError(param_name)

    def _rebuilt(self, trials: Sequence[FrozenTrial]) -> CMAwM:
        bounds = np.tile([0.0, 1.0], (len(self._mean), 1))
        optimizer = CMAwM(
            self._mean.copy(),
            self._sigma,
            bounds,
            self._steps,
            seed=0,
            population_size=self._population,
        )
        for trial in trials:
            parents = trial.system_attrs.get(PARENTS)
            if parents is not None:
                self._learn(optimizer, [trials[number] for number in parents])
        return optimizer

    def _learn(self, optimizer: CMAwM, members: Sequence[FrozenTrial]) -> None:
        solutions: list[tuple[np.ndarray, float]] = []
        for member in members:
            assert member.value is not None
            solutions.append((self._unit(member.params), -member.value))
        optimizer.tell(solutions)

    def _unit(self, parameters: Mapping[str, float]) -> np.ndarray:
        values = np.array([parameters[name] for name in self._distributions])
        return (values - self._low) / self._range


def _step(distribution: FloatDistribution | IntDistribution) -> float:
    if isinstance(distribution, FloatDistribution):
        return 0.0
    return 1.0 / (distribution.high - distribution.low)
