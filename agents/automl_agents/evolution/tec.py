"""TEC: evolution of filter masks, without a belief about which filters matter."""

import math

import numpy as np

from automl_agents.evolution.tec_config import TecConfig
from automl_agents.filter_masks import FilterMasks, Mask
from automl_agents.ledger import TrialLedger
from automl_agents.random_stream import random_stream
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial

ATTEMPTS = 20  # at a child that is not in the population yet
LEAST_CHANCE = 0.1  # of the worst parent, as a share of the best one's


class TecSearcher:
    """Keeps the best masks it was told of, and asks for their children.

    The first mask is the uniform policy with the best-ranked channels, as far as the problem
    ranks them; random allocations follow until the population is full. Then a child takes a
    segment of a second parent, or flips one; parents are drawn in proportion to their score
    above the worst. A child enters the population when it is better than the worst in it.

    Where ours departs: the budget takes the place of the compression term in the fitness, by
    repair; and there are no generations, so that several asks may be in flight.

    Source: Wang et al., Towards Evolutionary Compression (KDD 2018), section 3; the shares of
    the operators are those of Shu et al., Co-Evolutionary Compression (ICCV 2019).
    """

    def __init__(self, problem: SearchProblem, config: TecConfig) -> None:
        """Rank the channels.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        problem.space.check_reachable(problem.budget)
        self._problem, self._config = problem, config
        importance = None if problem.importance is None else problem.importance()
        self._masks = FilterMasks(problem.space, problem.budget, importance, config.ranking_share)
        self._size = config.size(problem.effort)
        self._ledger = TrialLedger()
        self._waiting: dict[int, Mask] = {}
        self._population = np.zeros((0, self._masks.filters), dtype=bool)  # (P, F), best first
        self._scores = np.zeros(0)  # (P,)

    @property
    def scores(self) -> list[float]:
        """Of the population, best first."""
        return self._scores.tolist()

    def ask(self) -> Suggestion:
        """Propose the next mask."""
        number = self._ledger.asked
        mask, note = self._next(number, random_stream(self._problem.seed, number))
        self._waiting[number] = mask
        return self._ledger.suggest(self._masks.policy(mask), note)

    def tell(self, trial: Trial) -> None:
        """Take a mask into the population if it is good enough; a failed trial never is.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        mask, measured = self._waiting.pop(trial.number), trial.measurement
        if measured is None or not math.isfinite(measured.score):
            return
        # Before its equals: on a plateau, the newer one goes on.
        place = int(np.searchsorted(-self._scores, -measured.score, side="left"))
        self._scores = np.insert(self._scores, place, measured.score)[: self._size]
        self._population = np.insert(self._population, place, mask, axis=0)[: self._size]

    def _next(self, number: int, rng: np.random.Generator) -> tuple[Mask, str]:
        if number == 0:
            uniform = self._problem.space.uniform(self._problem.budget)
            return self._masks.of_widths(uniform, rng, share=1.0), "uniform policy"
        if number < self._size or len(self._scores) < 2 or self._masks.filters < 2:
            return self._masks.random(rng), "random allocation"
        return self._child(rng)

    def _child(self, rng: np.random.Generator) -> tuple[Mask, str]:
        known = [*self._population, *self._waiting.values()]
        for _ in range(ATTEMPTS):
            is_crossing = rng.random() < self._config.crossover_rate
            bits = self._crossed(rng) if is_crossing else self._mutated(rng)
            mask = self._masks.repaired(bits, rng)
            if not any(np.array_equal(mask, each) for each in known):
                return mask, "crossover" if is_crossing else "mutation"
        return self._masks.random(rng), "random allocation"

    def _parents(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw indices of different parents in proportion to the score above the worst."""
        above = self._scores - self._scores[-1]
        weights = above + LEAST_CHANCE * above[0] if above[0] > 0 else np.ones(len(above))
        return rng.choice(len(weights), count, replace=False, p=weights / weights.sum())

    def _crossed(self, rng: np.random.Generator) -> Mask:
        first, second = self._population[self._parents(rng, 2)]
        start, end = np.sort(rng.choice(self._masks.filters + 1, 2, replace=False))
        child = first.copy()
        child[start:end] = second[start:end]
        return child

    def _mutated(self, rng: np.random.Generator) -> Mask:
        filters = self._masks.filters
        longest = max(round(self._config.mutation_share * filters), 1)
        length = int(rng.integers(1, longest + 1))
        start = int(rng.integers(0, filters - length + 1))
        child = self._population[self._parents(rng, 1)[0]].copy()
        child[start : start + length] ^= True
        return child

    def snapshot(self) -> Snapshot:
        """Return population, waiting masks and counts."""
        waiting = [self._waiting[number] for number in sorted(self._waiting)]
        arrays = {
            "population": self._population.copy(),
            "scores": self._scores.copy(),
            "waiting": np.array(waiting, dtype=bool).reshape(len(waiting), self._masks.filters),
        }
        return Snapshot({"ledger": self._ledger.to_json()}, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what `snapshot` returned."""
        self._ledger.restore(snapshot.values["ledger"])
        self._population = snapshot.arrays["population"].copy()
        self._scores = snapshot.arrays["scores"].copy()
        numbers = sorted(self._ledger.open)
        masks = snapshot.arrays["waiting"].copy()
        self._waiting = dict(zip(numbers, masks, strict=True))
