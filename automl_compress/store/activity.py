"""What all jobs are at, added up: what waits, what is taken, what was done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from automl_compress.store.paging import check_limit
from automl_compress.store.tables import JobRow, JobState


@dataclass(frozen=True, slots=True)
class WorkDone:
    """What all jobs have done; oldest_queued_at: None while none waits."""

    trials: int
    evaluations: float
    oldest_queued_at: datetime | None


def jobs_in_states(session: Session) -> Mapping[JobState, int]:
    """Return how many jobs there are in each state; states without any are left out."""
    query = select(JobRow.state, func.count()).group_by(JobRow.state)
    return {row[0]: row[1] for row in session.execute(query)}


def work_done(session: Session) -> WorkDone:
    """Add up what all jobs have done, and say since when the first in line waits."""
    counted = func.coalesce(func.sum(JobRow.trials_done), 0)
    spent = func.coalesce(func.sum(JobRow.evaluations), 0.0)
    trials, evaluations = session.execute(select(counted, spent)).one()
    oldest = select(func.min(JobRow.created_at)).where(JobRow.state == JobState.QUEUED)
    return WorkDone(int(trials), float(evaluations), session.scalar(oldest))


def unfinished_jobs(session: Session, account: str) -> int:
    """Return how many jobs of an account have not ended."""
    query = select(func.count()).select_from(JobRow)
    counted = query.where(JobRow.account == account, JobRow.finished_at.is_(None))
    return session.scalar(counted) or 0


def waiting_jobs(session: Session, limit: int = 50) -> Sequence[JobRow]:
    """Return the jobs that have not ended, in the order in which they are taken."""
    check_limit(limit)
    order = JobRow.priority.desc(), JobRow.id
    query = select(JobRow).where(JobRow.finished_at.is_(None)).order_by(*order)
    return session.scalars(query.limit(limit)).all()


def jobs_taken(session: Session, limit: int = 1000) -> Sequence[tuple[str, str]]:
    """Return id and owner of the jobs that some execution owns, the oldest first."""
    query = select(JobRow.id, JobRow.owner).where(JobRow.owner.is_not(None))
    query = query.where(JobRow.finished_at.is_(None)).order_by(JobRow.id).limit(limit)
    return [(job_id, owner or "") for job_id, owner in session.execute(query)]
