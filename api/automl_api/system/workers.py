"""`/v1/workers`: who serves the queue."""

from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter

from automl_api.bodies import Moment, ResponseBody
from automl_api.service import ServiceDependency
from automl_compress.store import activity, jobs, leases
from automl_compress.store.tables import LeaseRow

router = APIRouter(tags=["system"])


class WorkerBody(ResponseBody):
    """A worker process.

    state: `silent` is who gave no sign of life for a whole lease, by the database's clock;
        `dead` is who was declared so by another worker, which moves its jobs.
    version, process_id, started: null where an older version wrote them.
    clock_ahead_seconds: of the worker's clock, against the database's.
    trouble: what keeps it from its work, in words.
    gpu: the name of its GPU; null without one.
    jobs: ids of the caller's jobs in its hands.
    """

    id: str
    host: str
    process_id: int | None
    version: str | None
    state: Literal["alive", "silent", "dead"]
    started: Moment | None
    last_seen: Moment
    silent_seconds: float
    clock_ahead_seconds: float | None
    trouble: str | None
    gpu: str | None
    jobs: Sequence[str]


class WorkersBody(ResponseBody):
    """Every worker process that was not forgotten yet; `lease_seconds` is how long one may rest."""

    data: Sequence[WorkerBody]
    lease_seconds: float


@router.get("/v1/workers")
def list_workers(service: ServiceDependency) -> WorkersBody:
    """Say which workers serve the queue, since when, and what they work on."""
    lease_seconds = service.settings.lease_seconds
    with service.database.reading() as session:
        rows, at = leases.every(session), leases.database_now(session)
        taken = activity.jobs_taken(session)
    workers = [
        _worker(
            row,
            leases.silent_seconds(row, at),
            lease_seconds,
            [job_id for job_id, owner in taken if jobs.worker_of(owner) == row.owner],
        )
        for row in rows
    ]
    return WorkersBody(data=workers, lease_seconds=lease_seconds)


def _worker(
    row: LeaseRow, silent_seconds: float, lease_seconds: float, job_ids: Sequence[str]
) -> WorkerBody:
    state = "silent" if silent_seconds > lease_seconds else "alive"
    return WorkerBody(
        id=row.owner,
        host=row.host,
        process_id=row.process_id,
        version=row.version,
        state="dead" if row.reaped_by else state,
        started=row.started_at,
        last_seen=row.renewed_at,
        silent_seconds=max(silent_seconds, 0.0),
        clock_ahead_seconds=row.clock_ahead_seconds,
        trouble=row.trouble,
        gpu=row.gpu,
        jobs=job_ids,
    )
