"""How far jobs have come, without what they are: may be asked several times a second."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.store.jobs import TERMINAL
from automl_compress.store.tables import JobRow, JobState


@dataclass(frozen=True, slots=True)
class Head:
    """How far a job has come: how many events it has, and its state with the last of them."""

    events: int
    state: JobState

    @property
    def has_ended(self) -> bool:
        """Whether there will be no more events."""
        return self.state in TERMINAL


def of_jobs(session: Session, job_ids: Sequence[str]) -> dict[str, Head]:
    """Return how far jobs have come, by id; those that do not exist are missing."""
    query = select(JobRow.id, JobRow.event_count, JobRow.state).where(JobRow.id.in_(job_ids))
    return {job_id: Head(count, state) for job_id, count, state in session.execute(query)}
