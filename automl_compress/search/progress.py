"""What a running study says of itself, and what it says at its end."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from automl_compress.core import Trial, TrialState
from automl_compress.core.errors import FloorMissed, ModelInvalid

StopReason = Literal["completed", "deadline", "stopped", "all_failed", "floor_missed"]


@dataclass(frozen=True, slots=True)
class StudyEvent:
    """One finished trial, seen from the study.

    score, cost_ratio: of this trial; None where it failed. cost_ratio is the kept share of the
        budget's metric, in (0, 1].
    best_number, best_score: of the best trial so far; None before the first one that may win.
    evaluations: effort spent so far.
    elapsed_seconds: since the study began, earlier runs included where the caller gave them.
    eta_seconds: expected time to the end; None before anything can be said.
    failure: why the trial failed; None where it did not.
    """

    number: int
    state: TrialState
    score: float | None
    cost_ratio: float | None
    best_number: int | None
    best_score: float | None
    evaluations: float
    elapsed_seconds: float
    eta_seconds: float | None
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as a JSON object."""
        return {**asdict(self), "state": self.state.value}


@dataclass(frozen=True, slots=True)
class StudySummary:
    """How a study ended.

    stop_reason: `completed` (effort spent), `deadline` (wall seconds spent), `stopped` (asked
        to), `all_failed` (nothing could be measured), `floor_missed` (nothing that was measured
        reaches the accuracy floor).
    best: the trial that comes closest to the study's goal; the earliest among equals.
    evaluations: effort spent; a failed trial counts as one evaluation.
    message: for people; says why where the study did not complete.
    """

    stop_reason: StopReason
    best: Trial | None
    evaluations: float
    message: str = ""

    def require_best(self) -> Trial:
        """Return the best trial.

        Raises:
            FloorMissed: nothing that was measured reaches the accuracy floor.
            ModelInvalid: nothing could be measured.
        """
        if self.best is not None:
            return self.best
        if self.stop_reason == "floor_missed":
            raise FloorMissed(self.message)
        raise ModelInvalid(f"no policy could be evaluated: {self.message}")
