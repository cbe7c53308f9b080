"""Bodies of `/v1/jobs` and of what lies below it."""

from collections.abc import Mapping
from typing import Any

from automl_api.bodies import Moment, ResponseBody
from automl_compress.core.budget import counted
from automl_compress.store import EventRow, JobKind, JobRow, JobState, TrialRow


class BestBody(ResponseBody):
    """The best trial so far, by the recipe's score."""

    number: int
    score: float


class ProgressBody(ResponseBody):
    """How far a job has come.

    evaluations_limit: of a search.
    elapsed_seconds: time that the work took, all attempts together.
    eta_seconds: expected time to its end; None before anything can be said.
    """

    trials: int
    evaluations: float
    evaluations_limit: float | None
    fraction: float
    elapsed_seconds: float
    eta_seconds: float | None
    best: BestBody | None


class JobBody(ResponseBody):
    """A job in the queue.

    study: of a search, or of the one whose trial is confirmed; otherwise empty.
    policy_id: that is evaluated or exported. evaluation: on which split. export: in which format.
    search_id, confirmation: of which search a trial is confirmed, and which one.
    All of these are null where the job is of another kind, and dataset_id for an export.
    """

    id: str
    account: str
    kind: JobKind
    name: str
    status: str
    priority: int
    stop_reason: str | None
    error: Mapping[str, Any] | None
    model_id: str
    dataset_id: str | None
    policy_id: str | None
    search_id: str | None
    study: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    confirmation: Mapping[str, Any] | None
    export: Mapping[str, Any] | None
    tags: Mapping[str, Any]
    attempt: int
    progress: ProgressBody
    baseline: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    last_event_seq: int
    created: Moment
    started: Moment | None
    finished: Moment | None


class EventBody(ResponseBody):
    """Something that happened to a job; `seq` counts from 1 without gaps."""

    seq: int
    type: str
    at: Moment
    data: Mapping[str, Any]


class TrialBody(ResponseBody):
    """One policy and what was measured of it.

    score: by which trials compete; null for probes and for what only a subset scored.
    images: the first so many of the recipe's images score it; null for all of them.
    """

    id: str
    job_id: str
    number: int
    state: str
    policy: Mapping[str, Any]
    measurement: Mapping[str, Any] | None
    score: float | None
    failure: str | None
    note: str
    role: str
    images: int | None
    created: Moment
    finished: Moment | None


def job_body(row: JobRow) -> JobBody:
    """Describe a job's row."""
    return JobBody(
        id=row.id,
        account=row.account,
        kind=row.kind,
        name=row.name,
        status=row.state.value,
        priority=row.priority,
        stop_reason=row.stop_reason,
        error=row.error,
        model_id=row.model_id,
        dataset_id=row.dataset_id,
        policy_id=row.policy_id,
        search_id=row.search_id,
        study=row.spec.get("study", {}),
        evaluation=_told_of(row, "evaluation", "split", "normalisation"),
        confirmation=_told_of(row, "confirmation", "trial_number"),
        export=_told_of(row, "export", "format"),
        tags=row.tags,
        attempt=row.attempt,
        progress=_progress(row),
        baseline=_counted(row.baseline),
        result=row.result,
        last_event_seq=row.event_count,
        created=row.created_at,
        started=row.started_at,
        finished=row.finished_at,
    )


def _counted(measured: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Leave out costs that nobody counted; rows hold 0 for these from before they were left out."""
    if measured is None or "cost" not in measured:
        return measured
    return {**measured, "cost": counted(measured["cost"])}


def event_body(row: EventRow) -> EventBody:
    """Describe an event's row."""
    return EventBody(seq=row.seq, type=row.kind, at=row.created_at, data=row.data)


def trial_body(row: TrialRow) -> TrialBody:
    """Describe a trial's row."""
    return TrialBody(
        id=row.id,
        job_id=row.job_id,
        number=row.number,
        state=row.state.value,
        policy=row.policy,
        measurement=_counted(row.measurement),
        score=row.score,
        failure=row.failure,
        note=row.note,
        role=row.role,
        images=row.images,
        created=row.created_at,
        finished=row.finished_at,
    )


def _progress(row: JobRow) -> ProgressBody:
    limit = None
    if row.kind is JobKind.SEARCH:
        limit = float(row.spec["study"]["effort"]["evaluations"])
    best = None
    if row.best_number is not None and row.best_score is not None:
        best = BestBody(number=row.best_number, score=row.best_score)
    return ProgressBody(
        trials=row.trials_done,
        evaluations=row.evaluations,
        evaluations_limit=limit,
        fraction=_fraction(row) if limit is None else min(row.evaluations / limit, 1.0),
        elapsed_seconds=row.elapsed_seconds,
        eta_seconds=None if row.finished_at is not None else row.eta_seconds,
        best=best,
    )


def _fraction(row: JobRow) -> float:
    """Tell by the time that an evaluation took, and takes yet."""
    if row.state is JobState.SUCCEEDED:
        return 1.0
    if row.eta_seconds is None:
        return 0.0
    return row.elapsed_seconds / max(row.elapsed_seconds + row.eta_seconds, 1e-9)


def _told_of(row: JobRow, part: str, *names: str) -> Mapping[str, Any] | None:
    told = row.spec.get(part)
    return None if told is None else {name: told[name] for name in names}
