"""The study loop, written once: for the worker, the command line and the notebook."""

import time
from collections.abc import Callable
from dataclasses import replace

from automl_compress.core import (
    Budget,
    CompressionSpace,
    Effort,
    Executor,
    Goal,
    Measurement,
    Outcome,
    Recall,
    Searcher,
    Snapshot,
    Suggestion,
    Trial,
    TrialStore,
)
from automl_compress.core.errors import InvalidInput, WrongState
from automl_compress.search.outcome import answer, finished, joined, recall_nothing
from automl_compress.search.progress import StopReason, StudyEvent, StudySummary
from automl_compress.search.restore import restore_searcher
from automl_compress.search.tally import Tally

SNAPSHOT_EVERY_TRIALS = 20  # a restored study repeats fewer tells than this
SNAPSHOT_SHARE = 0.05  # of the time: snapshots come more often while they stay below it
HOPELESS_FAILURES = 5  # so many failures and no success end a study
CHUNK_SECONDS = 0.5  # how soon `Study.run` notices that it should stop


def publish_nothing(event: StudyEvent) -> None:
    """Drop an event."""


def never_stop() -> bool:
    """Let the study run to its end."""
    return False


class Study:
    """One search, advanced in chunks.

    Every ask is stored before its evaluation begins, every tell when the searcher has learned
    from it. Whenever the process dies, a `Study` of a fresh searcher and the same store goes
    on: it evaluates no stored trial again, and those in flight under their numbers first.
    """

    def __init__(
        self,
        searcher: Searcher,
        executor: Executor,
        store: TrialStore,
        space: CompressionSpace,
        budget: Budget,
        effort: Effort,
        *,
        publish: Callable[[StudyEvent], None] = publish_nothing,
        should_stop: Callable[[], bool] = never_stop,
        parallelism: int = 1,
        clock: Callable[[], float] = time.monotonic,
        elapsed_before_seconds: float = 0.0,
        accuracy_floor: float | None = None,
        recall: Recall = recall_nothing,
    ) -> None:
        """Restore the searcher from the store.

        Args:
            searcher: fresh, of the study's specification.
            executor: evaluates; nothing is in flight in it.
            store: empty, or what an interrupted run of this study left.
            space: what a policy may decide.
            budget: what a compressed network may cost.
            effort: what the search may cost.
            publish: called once for each finished trial, after it was stored.
            should_stop: asked between trials; evaluations in flight are left unfinished.
            parallelism: evaluations in flight at once; the executor's capacity bounds it.
            clock: seconds, from any origin.
            elapsed_before_seconds: what earlier runs used of `effort.wall_seconds`.
            accuracy_floor: which the best trial reaches at the least cost; None for the highest
                score (Goal).
            recall: finds what other studies measured, so that it is not evaluated again.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            WrongState: the searcher does not repeat what the store holds.
        """
        space.check_reachable(budget)
        self._searcher, self._executor, self._store = searcher, executor, store
        self._space, self._budget, self._effort = space, budget, effort
        self._publish, self._should_stop, self._clock = publish, should_stop, clock
        self._places = max(1, min(parallelism, executor.capacity))
        self._started = clock()
        self._elapsed_before, self._recall = elapsed_before_seconds, recall
        self._again = restore_searcher(searcher, store)
        # With each suggestion what an earlier trial measured on the first images, if one did.
        self._in_flight: dict[int, tuple[Suggestion, Measurement | None]] = {}
        self._tally = Tally(Goal(budget.metric, accuracy_floor), store.trials())
        self._pace_from: tuple[float, float] | None = None  # seconds, evaluations until then
        self._untaken = 0  # tells since the latest snapshot, of this run
        self._snapshot_at, self._snapshot_seconds = clock(), float("inf")
        self.summary: StudySummary | None = None

    def change_effort(self, effort: Effort) -> None:
        """Go on until another effort is spent; the searcher keeps the plan it was made with."""
        self._effort = effort

    def advance(self, until: float) -> bool:
        """Go on until the clock shows `until`, or the study ends.

        At least one outcome is waited for, or time runs out; an evaluation that takes longer
        stays in flight for the next call.

        Returns:
            Whether the study has ended; `summary` then says how.
        """
        while self.summary is None:
            reason = self._stop_reason()
            if reason is not None:
                self._end(reason)
                break
            self._fill()
            if self._in_flight:
                outcome = self._executor.next_finished(max(until - self._clock(), 0.0))
                if outcome is not None:
                    self._finish(outcome)
            if self._clock() >= until:
                break
        return self.summary is not None

    def run(self) -> StudySummary:
        """Go on until the study ends; say how it did."""
        while self.summary is None:
            self.advance(self._clock() + CHUNK_SECONDS)
        return self.summary

    def _elapsed(self) -> float:
        return self._elapsed_before + self._clock() - self._started

    def _stop_reason(self) -> StopReason | None:
        tally, limit = self._tally, self._effort.wall_seconds
        if self._should_stop():
            return "stopped"
        if limit is not None and self._elapsed() >= limit:
            return "deadline"
        if not tally.complete and tally.failures >= HOPELESS_FAILURES:
            return "all_failed"
        if self._in_flight or self._again or self._has_effort_left():
            return None
        return "completed" if tally.best or tally.missed else "all_failed"

    def _has_effort_left(self) -> bool:
        # What is in flight will cost about what trials cost so far.
        in_flight = self._tally.mean_evaluations * len(self._in_flight)
        return self._tally.evaluations + in_flight < self._effort.evaluations - 1e-9

    def _fill(self) -> None:
        while len(self._in_flight) < self._places:
            if self._again:
                suggestion = self._again.pop(0)
            elif self._has_effort_left():
                suggestion = self._searcher.ask()
                self._check(suggestion)
                self._store.asked(suggestion)
            else:
                return
            earlier = self._tally.measured(suggestion.policy)
            stored = answer(suggestion, earlier, self._recall)
            if stored is not None:
                self._record(stored)
                return  # each trial may end the study
            self._submit(suggestion, None if earlier is None else earlier[1])

    def _submit(self, suggestion: Suggestion, earlier: Measurement | None) -> None:
        """Start an evaluation; images that an earlier one used are not forwarded again."""
        first = 0 if earlier is None else earlier.total
        self._in_flight[suggestion.number] = suggestion, earlier
        self._executor.submit(suggestion.number, suggestion.policy, slice(first, suggestion.images))

    def _check(self, suggestion: Suggestion) -> None:
        """Refuse what breaks the searcher's law, before anything is spent on it."""
        setting = self._space.setting(suggestion.policy)
        for decision, value in zip(self._space.decisions, setting, strict=True):
            if value not in decision.allowed:
                allowed = decision.allowed
                raise InvalidInput(
                    f"the searcher asked for {decision.kind} {value} of {decision.target!r} in "
                    f"trial {suggestion.number}; the space allows {allowed[0]} to {allowed[-1]} "
                    "in its steps; mend the searcher"
                )
        cost = self._space.costs.cost(setting)
        if suggestion.role == "candidate" and not self._budget.allows(cost, self._space.full):
            raise InvalidInput(
                f"the searcher asked for {cost.of(self._budget.metric):,} {self._budget.metric} "
                f"in trial {suggestion.number}; the budget allows "
                f"{self._budget.limit(self._space.full):,}; mend the searcher, "
                "for instance by CompressionSpace.repair"
            )

    def _finish(self, outcome: Outcome) -> None:
        suggestion, earlier = self._in_flight.pop(outcome.number, (None, None))
        if suggestion is None:
            raise WrongState(
                f"the executor returned trial {outcome.number}, which is not in flight; "
                "give each study an executor of its own, with nothing in it"
            )
        if earlier is not None and outcome.measurement is not None:
            whole = suggestion.images is None
            outcome = replace(outcome, measurement=joined(earlier, outcome.measurement, whole))
        self._record(finished(suggestion, outcome, self._space, self._budget))

    def _record(self, trial: Trial) -> None:
        # Told before it is stored: a snapshot beside a trial always includes it.
        self._searcher.tell(trial)
        began = self._clock()
        snapshot = self._snapshot_if_due(began)
        self._store.told(trial, snapshot)
        self._untaken += 1
        if snapshot is not None:
            self._untaken, self._snapshot_at = 0, self._clock()
            self._snapshot_seconds = self._snapshot_at - began
        self._tally.add(trial)
        self._publish(self._event(trial))

    def _snapshot_if_due(self, now: float) -> Snapshot | None:
        is_cheap = self._snapshot_seconds < SNAPSHOT_SHARE * (now - self._snapshot_at)
        is_due = is_cheap or self._untaken + 1 >= SNAPSHOT_EVERY_TRIALS
        return self._searcher.snapshot() if is_due else None

    def _event(self, trial: Trial) -> StudyEvent:
        tally, metric = self._tally, self._budget.metric
        measured, best = trial.measurement, tally.best
        return StudyEvent(
            number=trial.number,
            state=trial.state,
            score=measured.score if measured else None,
            cost_ratio=measured.cost.of(metric) / self._space.full.of(metric) if measured else None,
            best_number=best.number if best else None,
            best_score=best.measurement.score if best and best.measurement else None,
            evaluations=tally.evaluations,
            elapsed_seconds=self._elapsed(),
            eta_seconds=self._eta(),
            failure=trial.failure,
        )

    def _eta(self) -> float | None:
        limit = self._effort.wall_seconds
        until_deadline = None if limit is None else max(limit - self._elapsed(), 0.0)
        if self._pace_from is None:
            # The first trial also waits for processes to start; it says nothing of the others.
            self._pace_from = self._clock(), self._tally.evaluations
            return until_deadline
        began, before = self._pace_from
        if self._tally.evaluations <= before:
            return until_deadline
        left = max(self._effort.evaluations - self._tally.evaluations, 0.0)
        until_spent = left * (self._clock() - began) / (self._tally.evaluations - before)
        return until_spent if until_deadline is None else min(until_spent, until_deadline)

    def _end(self, reason: StopReason) -> None:
        missed = self._tally.missed
        if missed is not None and reason != "stopped":
            reason = "floor_missed"
        message = {
            "completed": "the effort is spent",
            "deadline": "the wall seconds of the effort are spent",
            "stopped": "the study was asked to stop",
            "all_failed": self._tally.failed(),
            "floor_missed": missed or "",
        }[reason]
        self.summary = StudySummary(reason, self._tally.best, self._tally.evaluations, message)
