"""What may change of a job that is stored: its name, its tags, its priority and its effort."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from automl_compress.core import Effort
from automl_compress.core.canonical import digest
from automl_compress.core.errors import WrongState
from automl_compress.store import events, jobs
from automl_compress.store.states import JobState
from automl_compress.store.tables import JobRow


@dataclass(frozen=True, slots=True)
class JobChanges:
    """New values; None leaves what there is.

    tags: all of them; those of before are gone.
    effort: members of `Effort`; those that are not named stay.
    """

    name: str | None = None
    tags: Mapping[str, str] | None = None
    priority: int | None = None
    effort: Mapping[str, Any] | None = None


def version_of(row: JobRow) -> str:
    """Return a digest of what may change; progress is no part of it."""
    told = [row.name, row.tags, row.priority, row.spec.get("study", {}).get("effort")]
    return digest(told).removeprefix("sha256:")


def change(session: Session, row: JobRow, changes: JobChanges) -> bool:
    """Change a job that the caller has locked, and tell its listeners.

    A study that runs ends by its new effort, which may already be spent. A job that waits begins
    its next attempt when its priority changes, for the queue keeps that of the present one.

    Returns:
        Whether the job must be queued again.

    Raises:
        WrongState: the search has ended, and effort or priority were to change.
        InvalidInput: an effort that is not above 0, or of a job that is no search.
    """
    steers = changes.effort is not None or changes.priority is not None
    if steers and (row.state in jobs.TERMINAL or row.state is JobState.FINALIZING):
        raise WrongState(
            f"job {row.id} is {row.state}: its search has ended; only name and tags can change. "
            "POST /v1/jobs/{id}/clone makes a new job with another effort"
        )
    if changes.name is not None:
        row.name = changes.name
    if changes.tags is not None:
        row.tags = dict(changes.tags)
    is_moved = row.state is JobState.QUEUED and changes.priority not in (None, row.priority)
    if is_moved:
        row.attempt += 1
    if changes.priority is not None:
        row.priority = changes.priority
    if changes.effort is not None:
        _change_effort(row, changes.effort)
    told = {name: value for name, value in asdict(changes).items() if value is not None}
    events.append(session, row.id, "job.changed", told)
    return is_moved


def _change_effort(row: JobRow, changed: Mapping[str, Any]) -> None:
    study = jobs.study_of(row)
    effort = asdict(Effort(**{**study["effort"], **changed}))
    row.spec = {**row.spec, "study": {**study, "effort": effort}}
