"""Lets a searcher begin from what a sensitivity profile and a knapsack find."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from automl_agents.allocation.knapsack import Allocator
from automl_agents.allocation.profile import MEASURES, SensitivityProfile
from automl_agents.allocation.profile_plan import plan_profile
from automl_agents.ledger import TrialLedger
from automl_compress.core import Budget, Searcher, SearchProblem, Snapshot, Suggestion, Trial

LEVELS = 3  # values of each decision that the profile measures
DEAREST = 2.0  # times its share of the effort
Setting = tuple[int, ...]
Create = Callable[[Sequence[Setting]], Searcher]


def warm_started(
    problem: SearchProblem, profile_share: float, create: Create, budgets: Sequence[Budget] = ()
) -> Searcher:
    """Return what `create` builds, behind a profile if a share of the effort is given to one."""
    if profile_share == 0.0:
        return create(())
    return WarmStartedSearcher(problem, profile_share, create, budgets)


class WarmStartedSearcher:
    """Profiles first, then hands over to a searcher that asks the knapsack's solutions first.

    Source of the warm start: SPDY (Frantar and Alistarh, ICML 2022), section 3.2.
    """

    def __init__(
        self,
        problem: SearchProblem,
        profile_share: float,
        create: Create,
        budgets: Sequence[Budget] = (),
    ) -> None:
        """Plan the profile.

        Args:
            problem: where to search.
            profile_share: of the effort, for the profile; above 0.
            create: builds the searcher from settings that it is to ask first.
            budgets: the knapsack is solved for each; for the problem's own where none is given.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        problem.space.check_reachable(problem.budget)
        self._problem, self._create = problem, create
        self._budgets = tuple(budgets) or (problem.budget,)
        self._ledger = TrialLedger()
        effort = profile_share * problem.effort.evaluations
        plan = plan_profile(problem, effort, LEVELS)
        self._profile = SensitivityProfile(problem.space, plan)
        # One that is dear even at its smallest is left out: candidates must be measured, too.
        cost = len(plan.probes) * problem.evaluations(plan.images)
        self._has_profile = cost <= DEAREST * effort
        self._inner: Searcher | None = None
        self._seeds: tuple[Setting, ...] = ()
        self._asked: dict[int, Suggestion] = {}  # number here -> the inner searcher's own

    def ask(self) -> Suggestion:
        """Propose the next policy, or the next probe of the profile."""
        if self._inner is None and self._has_profile and not self._profile.is_asked:
            return self._profile.ask(self._ledger)
        own = self._searcher().ask()
        suggestion = self._ledger.suggest(own.policy, own.note, own.role, own.images)
        self._asked[suggestion.number] = own
        return suggestion

    def _searcher(self) -> Searcher:
        if self._inner is None:
            self._seeds = tuple(self._allocations()) if self._has_profile else ()
            self._inner = self._create(self._seeds)
        return self._inner

    def _allocations(self) -> dict[Setting, None]:
        allocators = [Allocator(self._problem.space, budget) for budget in self._budgets]
        curves = [self._profile.curves(measure) for measure in MEASURES]
        return {each.solve(losses): None for each in allocators for losses in curves}

    def tell(self, trial: Trial) -> None:
        """Take a probe into the profile, or pass a trial on.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        if not self._profile.tell(trial):
            own = self._asked.pop(trial.number)
            self._searcher().tell(replace(trial, number=own.number))

    def snapshot(self) -> Snapshot:
        """Return the profile and, once it is there, the searcher's snapshot."""
        inner = None if self._inner is None else self._inner.snapshot()
        values: dict[str, Any] = {
            "ledger": self._ledger.to_json(),
            "profile": self._profile.to_json(),
            "seeds": [list(setting) for setting in self._seeds],
            "asked": [[number, own.to_json()] for number, own in self._asked.items()],
            "inner": None if inner is None else dict(inner.values),
        }
        return Snapshot(values, {} if inner is None else inner.arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        values = snapshot.values
        self._ledger.restore(values["ledger"])
        self._profile.restore(values["profile"])
        self._seeds = tuple(tuple(setting) for setting in values["seeds"])
        self._asked = {int(number): Suggestion.from_json(own) for number, own in values["asked"]}
        self._inner = None
        if values["inner"] is not None:
            self._inner = self._create(self._seeds)
            self._inner.restore(Snapshot(values["inner"], snapshot.arrays))
