"""Which budget each round of `auto` is for: those of the study in turn, or ever smaller ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, Protocol

from automl_compress.core import Budget, CompressionSpace, Cost, Measurement, SearchProblem

PATIENCE = 3  # rounds until a budget is given up; the first of them asks the profile
NEAR = 0.02  # budgets whose ratios differ by less than this share are not told apart
FURTHER = 0.9  # of the least cost so far, once everything down to it is settled


@dataclass(frozen=True, slots=True)
class Aim:
    """What a round is for.

    budget: within which it looks. is_new: whether no round was for this budget before.
    words: what notes say of it, behind a blank; empty where there is nothing to tell apart.
    """

    budget: Budget
    is_new: bool
    words: str


class Aims(Protocol):
    """Says what the next round is for."""

    @property
    def first(self) -> Sequence[Aim]:
        """The budgets that the search begins with, in the order of their uniform policies."""
        ...

    def next(self, weight: float = 1.0) -> Aim:
        """Begin a round; of a small step, its weight says how much of a round it is."""
        ...

    def tell(self, measurement: Measurement) -> None:
        """Take note of what all images scored of a candidate."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        ...

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        ...


def create_aims(problem: SearchProblem) -> Aims:
    """Return the aims of a search; an accuracy floor has falling ones.

    Raises:
        BudgetUnreachable: no policy of the space is within the (smallest) budget.
    """
    problem.space.check_reachable(problem.budgets[-1])
    if problem.accuracy_floor is None:
        return BudgetsInTurn(problem.budgets)
    return FallingBudget(problem.space, problem.budget, problem.accuracy_floor)


class BudgetsInTurn:
    """The budgets of a study, one after the other and again."""

    def __init__(self, budgets: Sequence[Budget]) -> None:
        """Begin with the first."""
        is_alone = len(budgets) == 1
        self._first = [Aim(each, False, "" if is_alone else _worded(each)) for each in budgets]
        self._rounds = 0

    @property
    def first(self) -> Sequence[Aim]:
        """All of them."""
        return self._first

    def next(self, weight: float = 1.0) -> Aim:
        """Take the next in turn, whatever the weight."""
        self._rounds += 1
        return self._first[(self._rounds - 1) % len(self._first)]

    def tell(self, measurement: Measurement) -> None:
        """Nothing follows from it."""

    def to_json(self) -> dict[str, Any]:
        """Return how many rounds there were."""
        return {"rounds": self._rounds}

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over how many rounds there were."""
        self._rounds = int(content["rounds"])


class FallingBudget:
    """Bisects for the smallest budget at which a policy reaches an accuracy floor.

    A budget is halfway, on a logarithmic scale, between the least cost that has reached the floor
    and the largest at which some rounds did not. Where the two meet, what was given up is tried
    again, a step further down: by then more is known.
    """

    def __init__(self, space: CompressionSpace, budget: Budget, floor: float) -> None:
        """Begin with the whole budget."""
        self._full, self._budget, self._floor = space.full, budget, floor
        self._bottom = self._ratio_of(space.costs.cost(space.smallest))
        self._reached, self._given_up = budget.ratio, self._bottom
        self._has_reached = False
        self._tried, self._rounds = (
            budget.ratio,
            0.0,
        )  # the ratio of the latest rounds, their number

    def _ratio_of(self, cost: Cost) -> float:
        """Return the smallest ratio that surely allows a cost, however it is rounded."""
        metric = self._budget.metric
        return min((cost.of(metric) + 0.5) / self._full.of(metric), self._budget.ratio)

    @property
    def first(self) -> Sequence[Aim]:
        """The study's budget alone."""
        return [self._aim(self._budget.ratio, is_new=False)]

    def next(self, weight: float = 1.0) -> Aim:
        """Go on at the latest budget, or begin the next."""
        if not self._has_reached:
            return self._aim(self._budget.ratio, is_new=False)
        if self._tried < self._reached:
            if self._rounds < PATIENCE:
                self._rounds += weight
                return self._aim(self._tried, is_new=False)
            self._given_up = self._tried
        if log(self._reached / self._given_up) < NEAR:
            self._given_up = max(self._bottom, FURTHER * self._reached)
        self._tried, self._rounds = sqrt(self._reached * self._given_up), weight
        return self._aim(self._tried, is_new=True)

    def tell(self, measurement: Measurement) -> None:
        """Lower the least cost that has reached the floor, if this one has."""
        if measurement.accuracy < self._floor:
            return
        self._has_reached = True
        self._reached = min(self._reached, self._ratio_of(measurement.cost))
        if self._given_up >= self._reached:  # what was given up is open again, a step at a time
            self._given_up = max(self._bottom, FURTHER**2 * self._reached)

    def _aim(self, ratio: float, *, is_new: bool) -> Aim:
        within = min(max(ratio, self._bottom), self._budget.ratio)
        budget = Budget(self._budget.metric, within)
        return Aim(budget, is_new, f"{_worded(budget)}, for the floor of {self._floor * 100:g} %")

    def to_json(self) -> dict[str, Any]:
        """Return what is known, and what is tried."""
        return {
            "reached": self._reached,
            "has_reached": self._has_reached,
            "given_up": self._given_up,
            "tried": self._tried,
            "rounds": self._rounds,
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what is known, and what is tried."""
        self._reached, self._given_up = float(content["reached"]), float(content["given_up"])
        self._has_reached = bool(content["has_reached"])
        self._tried, self._rounds = float(content["tried"]), float(content["rounds"])


def _worded(budget: Budget) -> str:
    return f" at {budget.ratio * 100:.4g} % of {budget.metric}"
