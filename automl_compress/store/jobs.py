"""Jobs: create, find, and move them from state to state by a table of legal moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, load_only

from automl_compress.core.errors import InvalidInput, JobTaken, KeyReused, NotFound, WrongState
from automl_compress.store import events
from automl_compress.store.ids import new_id
from automl_compress.store.states import ACTIVE, MOVES, TERMINAL
from automl_compress.store.tables import DesiredState, JobKind, JobRow, JobState, Json, now

S = JobState
LEAST_PRIORITY, MOST_PRIORITY = -100, 100


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is created from.

    kind: what the job does.
    policy_id: of the stored policy that it works on, where it does.
    search_id: of the search whose trial is confirmed.
    priority: waiting jobs of a higher one are taken first; within LEAST_PRIORITY and
        MOST_PRIORITY.
    idempotency_key: a second job with this key and the same digest is the first one.
    request_digest: of the whole request.
    """

    name: str
    model_id: str
    dataset_id: str | None
    spec: Json
    tags: Json
    priority: int = 0
    idempotency_key: str | None = None
    request_digest: str | None = None
    kind: JobKind = JobKind.SEARCH
    policy_id: str | None = None
    search_id: str | None = None


def create(session: Session, new: NewJob) -> JobRow:
    """Store a queued job, or return the one that was created with the same key.

    Raises:
        KeyReused: the idempotency key was used for another request.
    """
    existing = with_key(session, new)
    if existing is not None:
        return existing
    row = JobRow(
        id=new_id("job"),
        name=new.name,
        model_id=new.model_id,
        dataset_id=new.dataset_id,
        kind=new.kind,
        policy_id=new.policy_id,
        search_id=new.search_id,
        spec=new.spec,
        tags=new.tags,
        priority=new.priority,
        idempotency_key=new.idempotency_key,
        request_digest=new.request_digest,
    )
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        existing = with_key(session, new)  # somebody was faster with the same key
        if existing is None:
            raise
        return existing
    events.append(session, row.id, "job.status", {"state": row.state})
    return row


def with_key(session: Session, new: NewJob) -> JobRow | None:
    """Return the job that was created with the same key, where there is one.

    Raises:
        KeyReused: the key was used for another request.
    """
    if new.idempotency_key is None:
        return None
    query = select(JobRow).where(JobRow.idempotency_key == new.idempotency_key)
    row = session.scalars(query).one_or_none()
    if row is not None and row.request_digest != new.request_digest:
        raise KeyReused(
            f"the idempotency key of this request belongs to job {row.id}, which another "
            "request created; send a new key with a new request"
        )
    return row


def get(session: Session, job_id: str) -> JobRow:
    """Return a job.

    Raises:
        NotFound: no job has this id.
    """
    return _found(session.get(JobRow, job_id), job_id)


def study_of(row: JobRow) -> Json:
    """Return the study of a search; raises InvalidInput for a job of another kind."""
    if row.kind is not JobKind.SEARCH:
        raise InvalidInput(
            f"job {row.id} is of the kind {row.kind} and searches nothing; give the job of a search"
        )
    return row.spec["study"]


def lock(session: Session, job_id: str) -> JobRow:
    """Return a job and keep others from writing it until the transaction ends.

    Raises:
        NotFound: no job has this id.
    """
    row = session.get(JobRow, job_id, with_for_update=True, populate_existing=True)
    return _found(row, job_id)


def _found(row: JobRow | None, job_id: str) -> JobRow:
    if row is None:
        raise NotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
    return row


def active(session: Session, limit: int = 1000) -> Sequence[JobRow]:
    """Return jobs that some worker should be working on, or will, the oldest first.

    Only id, state and attempt are loaded.
    """
    query = (
        select(JobRow)
        .options(load_only(JobRow.id, JobRow.state, JobRow.attempt, raiseload=True))
        .where(JobRow.state.in_(ACTIVE))
        .order_by(JobRow.id)
        .limit(limit)
    )
    return session.scalars(query).all()


def move(
    session: Session,
    job_id: str,
    state: JobState,
    *,
    stop_reason: str | None = None,
    error: Json | None = None,
) -> JobRow:
    """Bring a job into another state, and tell its listeners.

    Raises:
        NotFound: no job has this id.
        WrongState: this move is not in the table.
    """
    row = lock(session, job_id)
    if state not in MOVES[row.state]:
        allowed = ", ".join(sorted(MOVES[row.state])) or "nothing: it has ended"
        raise WrongState(
            f"job {job_id} is {row.state} and cannot become {state}; allowed is {allowed}"
        )
    row.state = state
    row.stop_reason, row.error = stop_reason, error
    if state is S.VALIDATING and row.started_at is None:
        row.started_at = now()
    if state in TERMINAL:
        row.finished_at = now()
    if state in TERMINAL or state is S.PAUSED:
        row.owner = None  # fences whoever works on it
    data: dict[str, Any] = {"state": state, "stop_reason": stop_reason, "error": error}
    kept = {key: value for key, value in data.items() if value is not None}
    events.append(session, job_id, "job.status", kept)
    return row


def pause(session: Session, job_id: str) -> JobRow:
    """Stop a job so that it can go on later; harmless when it is paused already.

    Raises:
        NotFound: no job has this id.
        WrongState: the job has ended.
    """
    row = lock(session, job_id)
    if row.state is S.PAUSED:
        return row
    row = move(session, job_id, S.PAUSED, stop_reason="user")
    row.desired_state = DesiredState.PAUSE
    return row


def resume(session: Session, job_id: str) -> JobRow:
    """Queue a paused job again, as its next attempt; harmless when it is not paused.

    Raises:
        NotFound: no job has this id.
        WrongState: the job has ended.
    """
    row = lock(session, job_id)
    if row.state in ACTIVE:
        return row
    row = move(session, job_id, S.QUEUED)
    row.desired_state = DesiredState.RUN
    row.attempt += 1
    return row


def cancel(session: Session, job_id: str) -> JobRow:
    """Stop a job for good; harmless when it is cancelled already.

    Raises:
        NotFound: no job has this id.
        WrongState: the job has succeeded or failed.
    """
    row = lock(session, job_id)
    if row.state is S.CANCELLED:
        return row
    row = move(session, job_id, S.CANCELLED, stop_reason="user")
    row.desired_state = DesiredState.CANCEL
    return row


def retry(session: Session, job_id: str, attempt: int) -> bool:
    """End an attempt at an active job and begin the next; False when it is over already."""
    row = lock(session, job_id)
    if row.state not in ACTIVE or row.attempt != attempt:
        return False
    row.attempt += 1
    row.owner = None
    return True


def claim(session: Session, job_id: str, attempt: int, owner: str) -> JobRow:
    """Make `owner` the only execution that may write the job.

    Who takes it from another worker, which did not give it back, counts that one's death.

    Raises:
        NotFound: no job has this id.
        JobTaken: the job is paused or has ended, or a later attempt has begun.
    """
    row = lock(session, job_id)
    if row.state not in ACTIVE or row.attempt != attempt:
        raise JobTaken(
            f"job {job_id} is {row.state} in attempt {row.attempt}; attempt {attempt} ends here"
        )
    if row.owner is not None and worker_of(row.owner) != worker_of(owner):
        is_stuck = row.event_count == row.events_at_death
        row.deaths, row.events_at_death = (row.deaths if is_stuck else 0) + 1, row.event_count
    row.owner = owner
    return row


def worker_of(owner: str) -> str:
    """Return the worker of an execution, which is named `worker/execution`."""
    return owner.rpartition("/")[0]


def beat(
    session: Session, job_id: str, owner: str, seconds: float, eta_seconds: float | None
) -> JobRow:
    """Add time that the study took, and make sure that the job is still this execution's.

    Raises:
        JobTaken: another execution owns the job, or its user stopped it.
    """
    row = lock_owned(session, job_id, owner)
    row.elapsed_seconds += seconds
    row.eta_seconds = eta_seconds
    return row


def lock_owned(session: Session, job_id: str, owner: str | None) -> JobRow:
    """Lock a job that this execution owns; with owner None, any job.

    Raises:
        NotFound: no job has this id.
        JobTaken: another execution owns the job, or nobody may write it.
    """
    row = lock(session, job_id)
    if owner is not None and row.owner != owner:
        raise JobTaken(
            f"job {job_id} is {row.state} and owned by {row.owner or 'nobody'}, no longer by "
            f"{owner}; what this execution measured since is dropped"
        )
    return row
