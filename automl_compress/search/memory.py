"""A trial store and an executor that live in this process: for notebooks and tests."""

import json
from collections import deque
from collections.abc import Sequence

from automl_compress.core import (
    Asked,
    Evaluator,
    Outcome,
    Policy,
    Snapshot,
    Suggestion,
    Told,
    Trial,
    TrialState,
)
from automl_compress.core.errors import TrialMismatch, WrongState


class MemoryTrialStore:
    """Keeps the trials of one study as long as the process lives."""

    def __init__(self) -> None:
        """Begin without trials."""
        self._trials: dict[int, Trial] = {}
        self._snapshot: Snapshot | None = None
        self._events: list[Asked | Told] = []

    def asked(self, suggestion: Suggestion) -> None:
        """Store an ask; a second time with the same number and policy changes nothing.

        Raises:
            TrialMismatch: the number is stored with another policy.
        """
        known = self._trials.get(suggestion.number)
        if known is None:
            self._trials[suggestion.number] = suggestion.running()
            self._events.append(Asked(suggestion))
        elif known.policy != suggestion.policy:
            raise TrialMismatch(
                f"trial {suggestion.number} is stored with another policy; "
                "a number belongs to one policy, ask the searcher for the next one"
            )

    def told(self, trial: Trial, snapshot: Snapshot | None = None) -> None:
        """Store a tell, and with it the searcher's state after it.

        Raises:
            TrialMismatch: the number was not asked for, or is stored already, or the trial
                has no outcome.
        """
        known = self._trials.get(trial.number)
        if known is None or known.state is not TrialState.RUNNING:
            state = "was not asked for" if known is None else f"is already {known.state.value}"
            raise TrialMismatch(f"trial {trial.number} {state}; a trial is told once after its ask")
        if trial.state is TrialState.RUNNING or trial.policy != known.policy:
            raise TrialMismatch(
                f"trial {trial.number} was told as {trial.state.value}, or with another policy; "
                "tell the policy that was asked, complete or failed"
            )
        # Made first: a snapshot that cannot be stored leaves the trial untold.
        copied = None if snapshot is None else _copy(snapshot)
        self._trials[trial.number] = trial
        if copied is None:
            self._events.append(Told(trial))
        else:
            self._snapshot, self._events = copied, []

    def trials(self) -> Sequence[Trial]:
        """Return every trial by number, running ones included."""
        return [self._trials[number] for number in sorted(self._trials)]

    def history(self) -> tuple[Snapshot | None, Sequence[Asked | Told]]:
        """Return the latest snapshot and the events since it, in order."""
        snapshot = None if self._snapshot is None else _copy(self._snapshot)
        return snapshot, tuple(self._events)


def _copy(snapshot: Snapshot) -> Snapshot:
    # Values pass through JSON, as in the stores that last: what is no JSON fails here too.
    return Snapshot(
        json.loads(json.dumps(dict(snapshot.values))),
        {name: array.copy() for name, array in snapshot.arrays.items()},
    )


class InProcessExecutor:
    """Evaluates in this process, one policy after the other, when its outcome is asked for.

    A call of `next_finished` takes as long as the evaluation, whatever its timeout.
    """

    def __init__(self, evaluator: Evaluator, capacity: int = 1) -> None:
        """Take the evaluator; capacity is how many policies may wait."""
        self.capacity = capacity
        self._evaluator = evaluator
        self._waiting: deque[tuple[int, Policy, slice | None]] = deque()

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        """Put a policy into the queue.

        Raises:
            WrongState: `capacity` policies are waiting already.
        """
        if len(self._waiting) >= self.capacity:
            raise WrongState(
                f"{len(self._waiting)} evaluations are in flight and the capacity is "
                f"{self.capacity}; take an outcome by next_finished first"
            )
        self._waiting.append((number, policy, images))

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        """Evaluate the next policy; None when none is waiting."""
        if not self._waiting:
            return None
        number, policy, images = self._waiting.popleft()
        try:
            return Outcome(number, measurement=self._evaluator.evaluate(policy, images))
        except Exception as error:  # whatever an evaluator raises is this trial's failure
            return Outcome(number, failure=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Forget the policies that wait."""
        self._waiting.clear()
