"""What happened to a job, in order."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store.paging import Page, check_limit, cut
from automl_compress.store.tables import EventRow, JobRow, Json


def append(session: Session, job_id: str, kind: str, data: Json) -> EventRow:
    """Add an event under the job's next number.

    The number is taken under the job row's lock, so that no lower one can be committed after a
    higher one was read.

    Raises:
        NotFound: no job has this id.
    """
    counted = update(JobRow).where(JobRow.id == job_id).values(event_count=JobRow.event_count + 1)
    seq = session.scalar(counted.returning(JobRow.event_count))
    if seq is None:
        raise NotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
    row = EventRow(job_id=job_id, seq=seq, kind=kind, data=data)
    session.add(row)
    session.flush()
    return row


def add(session: Session, job: JobRow, kind: str, data: Json) -> None:
    """Add an event to a job that the caller has locked; both are written when it flushes."""
    job.event_count += 1
    session.add(EventRow(job_id=job.id, seq=job.event_count, kind=kind, data=data))


def of_kinds(session: Session, job_id: str, kinds: Sequence[str]) -> Sequence[EventRow]:
    """Return a job's events of these kinds in order."""
    query = select(EventRow).where(EventRow.job_id == job_id, EventRow.kind.in_(kinds))
    return session.scalars(query.order_by(EventRow.seq)).all()


def page(session: Session, job_id: str, *, after: int = 0, limit: int = 100) -> Page[EventRow]:
    """Return a job's events in order, from the first one with a number above `after`."""
    check_limit(limit)
    query = (
        select(EventRow)
        .where(EventRow.job_id == job_id, EventRow.seq > after)
        .order_by(EventRow.seq)
        .limit(limit + 1)
    )
    return cut(session.scalars(query).all(), limit)
