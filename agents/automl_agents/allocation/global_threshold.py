"""Global threshold: one cut-off on the importance of all channels of the network."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from automl_agents.allocation.candidates import CandidateList
from automl_agents.allocation.config import GlobalConfig
from automl_agents.allocation.growth import grown
from automl_agents.ledger import TrialLedger
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial
from automl_compress.core.errors import InvalidInput

Normalise = Callable[[np.ndarray], np.ndarray]


def _raw(scores: np.ndarray) -> np.ndarray:
    return scores


def _mean(scores: np.ndarray) -> np.ndarray:
    return scores / _positive(scores.mean())


def _largest(scores: np.ndarray) -> np.ndarray:
    return scores / _positive(scores.max())


def _lamp(scores: np.ndarray) -> np.ndarray:
    """Divide each square by the sum of those at least as large: the last one always gets 1.

    Source: Lee et al., LAMP (ICLR 2021), equation 3, for channels instead of weights.
    """
    squares = scores[np.argsort(scores, kind="stable")] ** 2  # ascending
    rest = np.cumsum(squares[::-1])[::-1]
    normalised = np.empty_like(scores)
    normalised[np.argsort(scores, kind="stable")] = squares / np.maximum(rest, _TINY)
    return normalised


_TINY = 1e-300
#: mean and largest: divided by the group's, so that wide and narrow layers compare.
NORMALISATIONS: Mapping[str, Normalise] = {
    "mean": _mean,
    "lamp": _lamp,
    "largest": _largest,
    "raw": _raw,
}


class GlobalSearcher:
    """Cuts the least important channels, wherever in the network they are.

    Its few candidates are: importance as it is, divided by the group's mean or largest, and as
    LAMP does; each by itself and divided by what one channel of the group costs. The cut-off is
    bisected to the budget, above a floor for each group. After them, the best one again.

    Source: Liu et al., Network Slimming (ICCV 2017), for the global threshold; the floor and
    the division by the mean as PruningBench does for its global mode.
    """

    def __init__(self, problem: SearchProblem, config: GlobalConfig) -> None:
        """Score the channels and find every candidate.

        Raises:
            InvalidInput: the problem has no importance.
            BudgetUnreachable: no policy of the space is within the budget.
        """
        problem.space.check_reachable(problem.budget)
        self._problem, self._config = problem, config
        self._ledger = TrialLedger()
        self._candidates = CandidateList(problem.space)
        scores = _scores(problem)
        for (name, normalise), per_cost in product(NORMALISATIONS.items(), (False, True)):
            normalised = [normalise(each) for each in scores]
            if per_cost:
                normalised = [
                    each / _positive(cost)
                    for each, cost in zip(normalised, self._channel_costs(), strict=True)
                ]
            kind = f"importance ({name})" + (" by cost" if per_cost else "")
            self._candidates.add(self._cut_off(normalised), f"one threshold on {kind}")

    def _channel_costs(self) -> list[float]:
        """Return what one channel of each group costs, on average, in the uncut network."""
        space, metric = self._problem.space, self._problem.budget.metric
        full = space.costs.cost(space.largest).of(metric)
        costs: list[float] = []
        for group, (low, high) in enumerate(zip(space.smallest, space.largest, strict=True)):
            widths = list(space.largest)
            widths[group] = low
            costs.append((full - space.costs.cost(widths).of(metric)) / max(high - low, 1))
        return costs

    def _cut_off(self, scores: Sequence[np.ndarray]) -> tuple[int, ...]:
        """Return the widths of the lowest threshold that meets the budget.

        What that leaves unused goes to the channels just below the threshold, as far as they fit.
        """
        space, budget = self._problem.space, self._problem.budget
        thresholds = np.unique(np.concatenate([*scores, [np.inf]]))
        floor = self._config.floor
        if not space.within(self._above(scores, np.inf, floor), budget):
            floor = 0.0  # the space's smallest widths meet the budget
        low, high = 0, len(thresholds) - 1
        while low < high:
            middle = (low + high) // 2
            if space.within(self._above(scores, thresholds[middle], floor), budget):
                high = middle
            else:
                low = middle + 1
        ranked = [np.sort(group)[::-1] for group in scores]

        def next_score(group: int, width: int) -> float:
            return float(ranked[group][width]) if width < len(ranked[group]) else -np.inf

        return grown(space, budget, self._above(scores, thresholds[low], floor), next_score)

    def _above(self, scores: Sequence[np.ndarray], threshold: float, floor: float) -> list[int]:
        """Return the largest allowed widths up to the number of channels above a threshold."""
        widths: list[int] = []
        for allowed, group in zip(self._problem.space.allowed, scores, strict=True):
            wanted = max(int((group >= threshold).sum()), int(np.ceil(floor * len(group))))
            fitting = [width for width in allowed if width <= wanted]
            widths.append(fitting[-1] if fitting else allowed[0])
        return widths

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        return self._candidates.ask(self._ledger)

    def tell(self, trial: Trial) -> None:
        """Compare a candidate.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        self._candidates.tell(trial)

    def snapshot(self) -> Snapshot:
        """Return candidates and counts."""
        return Snapshot(
            {"ledger": self._ledger.to_json(), "candidates": self._candidates.to_json()}
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        self._ledger.restore(snapshot.values["ledger"])
        self._candidates.restore(snapshot.values["candidates"])


def _scores(problem: SearchProblem) -> list[np.ndarray]:
    if problem.importance is None:
        raise InvalidInput(
            "this problem has no importance of channels, and 'global' cuts by nothing else; "
            "give SearchProblem an importance (evaluate.problem.search_problem does), or choose "
            "another searcher, for instance 'uniform'"
        )
    scores = [np.asarray(each, dtype=np.float64) for each in problem.importance()]
    # Criteria that rank alone may give scores below 0; only their order and distances count.
    return [each - min(float(each.min()), 0.0) for each in scores]


def _positive(value: float) -> float:
    return max(float(value), _TINY)
