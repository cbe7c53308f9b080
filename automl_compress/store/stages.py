"""Finished stages of confirmations: each is an event of its job, with a checkpoint beside."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from automl_compress.store import events
from automl_compress.store.tables import EventRow

FINISHED = "stage.finished"


def of_job(session: Session, job_id: str) -> Sequence[EventRow]:
    """Return the events of a job's finished stages, in the order in which they ended."""
    return events.of_kinds(session, job_id, (FINISHED,))
