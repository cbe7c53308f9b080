"""Allocation by dynamic programming over the sensitivity profile, refined as SPDY does."""

from typing import Any

import numpy as np

from automl_agents.allocation.config import DpConfig
from automl_agents.allocation.knapsack import Allocator
from automl_agents.allocation.profiled import ProfiledCandidates
from automl_agents.allocation.sensitivity import RULES
from automl_agents.random_stream import random_stream
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial

MOST_DRAWS = 3  # of coefficients, until they give a policy that was not asked before


class DpSearcher:
    """Profiles every decision, then solves the knapsack over the measured losses.

    It asks, in this order: the uniform policy; the profile; the knapsack over KL, over
    cross-entropy and over accuracy, on the pooled and on the convex curves, as far as they
    differ. Then, refining, coefficients of the decisions' losses: those of the best allocation
    with a few drawn again, after random ones where the configuration wants them; without
    refining, the best one again.

    Source: Frantar and Alistarh, SPDY (ICML 2022), sections 3.2 and 3.3. Ours draws
    coefficients log-normally around 1, starts the local search from the plain knapsack, takes
    the measure whose knapsack scored best, and spends a given effort instead of 100 random
    starts and 100 steps without improvement.
    """

    def __init__(self, problem: SearchProblem, config: DpConfig) -> None:
        """Plan the profile.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._problem, self._config = problem, config
        self._allocator = Allocator(problem.space, problem.budget)
        self._state = ProfiledCandidates(problem, config)
        uniform = problem.space.uniform(problem.budget)
        self._state.candidates.add(uniform, "one share everywhere")
        self._rules_used = 0
        self._refined = 0  # asks of the refinement
        self._waiting: dict[int, tuple[int, list[float]]] = {}  # number -> rule, coefficients
        self._best: tuple[float, int, list[float]] | None = None  # score, rule, coefficients

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        is_first = self._state.ledger.asked == 0
        if not is_first and not self._state.profile.is_asked:
            return self._state.probe()
        if not is_first:
            self._allocate()
        return self._state.candidate()

    def _allocate(self) -> None:
        """Add the next candidate, if there is one."""
        while self._rules_used < len(RULES):
            rule, self._rules_used = self._rules_used, self._rules_used + 1
            if self._add(rule, [1.0] * len(self._problem.space.decisions), "knapsack"):
                return
        if self._config.refine:
            self._refine()

    def _refine(self) -> None:
        number = self._refined
        self._refined += 1
        rule, best = (0, None) if self._best is None else self._best[1:]
        left = (1.0 - self._config.profile_share) * self._problem.effort.evaluations
        is_random = best is None or number < self._config.random_share * left
        for draw in range(MOST_DRAWS):
            rng = random_stream(self._problem.seed, number, draw)
            decisions = len(self._problem.space.decisions)
            drawn = rng.lognormal(0.0, self._config.spread, decisions)
            if best is None or is_random:
                coefficients, note = drawn, "random coefficients"
            else:
                count = max(round(self._config.resample * decisions), 1)
                places = rng.choice(decisions, count, replace=False)
                coefficients = np.array(best)
                coefficients[places] = drawn[places]
                note = f"best coefficients, {count} drawn again"
            if self._add(rule, coefficients.tolist(), note):
                return

    def _add(self, rule: int, coefficients: list[float], note: str) -> bool:
        measure, shape = RULES[rule]
        curves = self._state.profile.curves(measure, shape)
        losses = [each * loss for each, loss in zip(coefficients, curves, strict=True)]
        setting = self._allocator.solve(losses)
        note = f"{note}, {shape} curves of {measure}"
        is_new = self._state.candidates.add(setting, note)
        if is_new:
            self._waiting[self._state.ledger.asked] = rule, coefficients
        return is_new

    def tell(self, trial: Trial) -> None:
        """Take a probe into the profile, or compare a candidate and its coefficients.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        if not self._state.tell(trial):
            return
        allocation = self._waiting.pop(trial.number, None)
        if allocation is None or trial.score is None:
            return
        if self._best is None or trial.score > self._best[0]:
            self._best = trial.score, *allocation

    def snapshot(self) -> Snapshot:
        """Return profile, candidates, coefficients and counts."""
        waiting = [[number, *allocation] for number, allocation in self._waiting.items()]
        values: dict[str, Any] = {
            **self._state.to_json(),
            "rules_used": self._rules_used,
            "refined": self._refined,
            "waiting": waiting,
            "best": None if self._best is None else list(self._best),
        }
        return Snapshot(values)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        values = snapshot.values
        self._state.restore(values)
        self._rules_used, self._refined = int(values["rules_used"]), int(values["refined"])
        self._waiting = {
            int(number): (int(rule), list(coefficients))
            for number, rule, coefficients in values["waiting"]
        }
        best = values["best"]
        self._best = None if best is None else (best[0], int(best[1]), list(best[2]))
