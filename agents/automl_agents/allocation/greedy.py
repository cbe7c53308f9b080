"""NetAdapt: step by step, the cut that hurts least among those that save enough."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from automl_agents.allocation.candidates import CandidateList
from automl_agents.allocation.config import GreedyConfig
from automl_agents.decisions import open_decisions, worded
from automl_agents.ledger import TrialLedger
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial

MOST_ITERATIONS = 40  # NetAdapt's 2.5 % a step
FEWEST_IMAGES, GOOD_IMAGES = 32, 64


@dataclass(frozen=True, slots=True)
class GreedyPlan:
    """How a walk to the budget is cut into steps.

    iterations: how many; images: how many score a proposal; first_saving: what the cut of the
    first iteration saves, in the budget's unit.
    """

    iterations: int
    images: int
    first_saving: float


def plan_greedy(problem: SearchProblem, config: GreedyConfig) -> GreedyPlan:
    """Size the steps so that the effort is enough for all proposals of all iterations.

    First as many iterations as proposals on 64 images allow, then as many images as these
    iterations allow, at least 32.
    """
    space, metric = problem.space, problem.budget.metric
    decisions = max(len(open_decisions(space, metric)), 1)
    effort = max(problem.effort.evaluations * (1.0 - config.final_share) - 1.0, 0.0)
    iterations = config.iterations
    if iterations is None:
        affordable = int(effort / (decisions * problem.evaluations(GOOD_IMAGES)))
        iterations = min(max(affordable, 1), MOST_ITERATIONS)
    images = config.probe_images
    if images is None:
        affordable = effort / (decisions * iterations) * problem.images - problem.repair_images
        images = max(int(affordable), FEWEST_IMAGES)
    excess = space.costs.cost(space.largest).of(metric) - problem.budget.limit(space.full)
    savings = float(np.sum(config.decay ** np.arange(iterations)))  # in units of the first
    return GreedyPlan(iterations, min(images, problem.images), max(excess, 0) / savings)


@dataclass(slots=True)
class _Proposal:
    """One decision's cut; number: of its trial; worth: score, minus cross-entropy, once told."""

    decision: int
    value: int
    number: int | None = None
    worth: tuple[float, float] | None = None

    def to_json(self) -> list[Any]:
        worth = None if self.worth is None else list(self.worth)
        return [self.decision, self.value, self.number, worth]

    @classmethod
    def from_json(cls, content: list[Any]) -> "_Proposal":
        decision, value, number, worth = content
        return cls(decision, value, number, None if worth is None else (worth[0], worth[1]))


class GreedySearcher:
    """Walks from the largest setting to the budget.

    In each iteration every decision proposes its smallest cut that saves enough, a probe on a
    subset of the images scores the proposal, and the best one is taken; what has to be saved
    decays. The last proposals, which meet the budget, are grown until nothing single can grow
    and asked as candidates, the best first; then the best one again. The first ask is the
    uniform policy, so that an early end has a result.

    An iteration ends when its proposals were asked and one was told: with several evaluations
    in flight the last few do not take part.

    Source: Yang et al., NetAdapt (ECCV 2018), algorithm 1, and the constants of its public
    code. Ours does not fine-tune between iterations: the recipe's repair mends each proposal.
    """

    def __init__(self, problem: SearchProblem, config: GreedyConfig) -> None:
        """Plan the walk.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._problem, self._config = problem, config
        self._plan = plan_greedy(problem, config)
        self._ledger = TrialLedger()
        self._candidates = CandidateList(problem.space)
        self._candidates.add(problem.space.uniform(problem.budget), "one share everywhere")
        self._open = open_decisions(problem.space, problem.budget.metric)
        self._setting = list(problem.space.largest)
        self._iteration = 0
        self._proposals: list[_Proposal] = []
        self._has_arrived = False
        if self._is_within(self._setting):
            self._arrive([self._setting])
        else:
            self._propose()

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        if self._ledger.asked == 0 or self._has_arrived:
            return self._candidates.ask(self._ledger)
        if all(each.number is not None for each in self._proposals):
            self._take_best()
            if self._has_arrived:
                return self._candidates.ask(self._ledger)
        return self._ask_proposal()

    def _ask_proposal(self) -> Suggestion:
        proposal = next(each for each in self._proposals if each.number is None)
        space = self._problem.space
        decision = space.decisions[proposal.decision]
        note = (
            f"iteration {self._iteration + 1} of about {self._plan.iterations}: {decision.target} "
            f"from {self._setting[proposal.decision]} to {worded(decision, proposal.value)}"
        )
        policy = space.policy(self._with(proposal))
        suggestion = self._ledger.suggest(policy, note, "probe", self._plan.images)
        proposal.number = suggestion.number
        return suggestion

    def _with(self, proposal: _Proposal) -> list[int]:
        setting = list(self._setting)
        setting[proposal.decision] = proposal.value
        return setting

    def _cost(self, setting: list[int]) -> int:
        return self._problem.space.costs.cost(setting).of(self._problem.budget.metric)

    def _is_within(self, setting: list[int]) -> bool:
        return self._problem.space.within(setting, self._problem.budget)

    def _propose(self) -> None:
        """Let every decision propose; where none saves enough, each proposes all that it can."""
        limit = self._problem.budget.limit(self._problem.space.full)
        saving = self._plan.first_saving * self._config.decay**self._iteration
        target = max(self._cost(self._setting) - saving, limit)
        if self._iteration >= self._plan.iterations - 1:
            target = limit
        cuts = [(place, self._cut_to(place, target)) for place in self._open]
        self._proposals = [_Proposal(place, value) for place, value in cuts if value is not None]
        if not self._proposals:
            smallest = self._problem.space.smallest
            rest = [place for place, value in enumerate(self._setting) if smallest[place] < value]
            places = [place for place in rest if place in self._open] or rest
            self._proposals = [_Proposal(place, smallest[place]) for place in places]

    def _cut_to(self, place: int, target: float) -> int | None:
        """Return a decision's largest value below its own at which the cost meets the target."""
        allowed = self._problem.space.allowed[place]
        below = allowed[: bisect_right(allowed, self._setting[place] - 1)]
        fitting = bisect_right(
            below, target, key=lambda value: self._cost(self._with(_Proposal(place, value)))
        )
        return below[fitting - 1] if fitting else None

    def _take_best(self) -> None:
        told = [each for each in self._proposals if each.worth is not None]
        ranked = sorted(told, key=lambda each: each.worth or (0.0, 0.0), reverse=True) or sorted(
            self._proposals, key=self._share_left, reverse=True
        )
        last = [setting for each in ranked if self._is_within(setting := self._with(each))]
        self._setting = self._with(ranked[0])
        if last and self._is_within(self._setting):
            self._arrive(last)
        else:
            self._iteration += 1
            self._propose()

    def _share_left(self, proposal: _Proposal) -> float:
        """Return which part a cut leaves: before anything is told, the largest is the best."""
        return float(self._problem.space.shares(self._with(proposal))[proposal.decision])

    def _arrive(self, last: list[list[int]]) -> None:
        space, budget = self._problem.space, self._problem.budget
        self._has_arrived, self._proposals = True, []
        for place, setting in enumerate(last):
            grown = space.project(space.shares(setting).tolist(), budget)
            self._candidates.add(grown, f"last proposals, no. {place + 1}")

    def tell(self, trial: Trial) -> None:
        """Score a proposal, or compare a candidate.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        self._candidates.tell(trial)
        measured = trial.measurement
        for proposal in self._proposals:
            if proposal.number == trial.number and measured is not None:
                proposal.worth = measured.score, -(measured.cross_entropy or 0.0)

    def snapshot(self) -> Snapshot:
        """Return the walk so far, candidates and counts."""
        return Snapshot(
            {
                "ledger": self._ledger.to_json(),
                "candidates": self._candidates.to_json(),
                "setting": list(self._setting),
                "iteration": self._iteration,
                "proposals": [each.to_json() for each in self._proposals],
                "has_arrived": self._has_arrived,
            }
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        values: Mapping[str, Any] = snapshot.values
        self._ledger.restore(values["ledger"])
        self._candidates.restore(values["candidates"])
        self._setting, self._iteration = list(values["setting"]), int(values["iteration"])
        self._proposals = [_Proposal.from_json(each) for each in values["proposals"]]
        self._has_arrived = bool(values["has_arrived"])
