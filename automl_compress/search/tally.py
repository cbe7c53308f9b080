"""What the trials of a study add up to."""

from collections.abc import Iterable

from automl_compress.core import Goal, Measurement, Policy, Trial, TrialState

FAILED_EVALUATIONS = 1.0  # what a failed trial costs; free ones would let a study never end


class Tally:
    """Effort spent, failures, the best trial, and what was measured of which policy."""

    def __init__(self, goal: Goal, trials: Iterable[Trial] = ()) -> None:
        """Count the trials of an earlier run; the goal says what the best is best at."""
        self.evaluations = 0.0
        self.complete = 0
        self.failures = 0
        self.last_failure = ""
        self._goal = goal
        self._first: tuple[Trial, Measurement] | None = None
        self._measurements: dict[Policy, tuple[int, Measurement]] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Count one trial; running ones count for nothing."""
        if trial.state is TrialState.FAILED:
            self.failures += 1
            self.evaluations += FAILED_EVALUATIONS
            self.last_failure = trial.failure or ""
        elif trial.measurement is not None:
            self.complete += 1
            self.evaluations += trial.measurement.evaluations
            known = self._measurements.get(trial.policy)
            if known is None or known[1].total < trial.measurement.total:
                self._measurements[trial.policy] = trial.number, trial.measurement
            if trial.score is not None:
                self._compare(trial, trial.measurement)

    def _compare(self, trial: Trial, measurement: Measurement) -> None:
        # Among equals the lowest number: the same trial wins in whichever order they were told.
        def place(each: tuple[Trial, Measurement]) -> tuple[tuple[bool, float, float], int]:
            return self._goal.rank(each[1]), -each[0].number

        told = trial, measurement
        self._first = told if self._first is None else max(self._first, told, key=place)

    @property
    def best(self) -> Trial | None:
        """The best trial; None before the first one that reaches the goal."""
        if self._first is None or not self._goal.is_reached(self._first[1]):
            return None
        return self._first[0]

    @property
    def missed(self) -> str | None:
        """Words for candidates that all lie below the accuracy floor; None where it is not so."""
        if self._first is None or self.best is not None:
            return None
        trial, measurement = self._first
        metric = self._goal.metric
        return (
            f"no policy reaches the accuracy floor of {self._goal.accuracy_floor:g} on "
            f"{measurement.split}; the most accurate, trial {trial.number}, has "
            f"{measurement.accuracy:.4f} with {measurement.cost.of(metric):,} {metric}; lower the "
            "floor, or give more evaluations"
        )

    @property
    def mean_evaluations(self) -> float:
        """What a trial cost on average so far; 1 before the first."""
        told = self.complete + self.failures
        return self.evaluations / told if told else 1.0

    def measured(self, policy: Policy) -> tuple[int, Measurement] | None:
        """Return number and measurement of the trial that used most images on this policy."""
        return self._measurements.get(policy)

    def failed(self) -> str:
        """Say in words that nothing was found, and why."""
        if not self.failures:
            return "not one candidate was evaluated; raise the effort"
        told = f"{self.failures} trials failed; the last one: {self.last_failure}"
        if not self.complete:
            return f"all {told}"
        return f"{self.complete} probes were measured, but no candidate: {told}"
