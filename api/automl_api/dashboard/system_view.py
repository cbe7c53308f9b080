"""Everything that the page of the system shows."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from automl_api.jobs.schemas import JobBody, job_body
from automl_api.service import Service
from automl_api.system.capabilities import versions
from automl_compress.store import JobState, activity, leases


@dataclass(frozen=True)
class WorkerView:
    """A worker process: its last sign of life, its trouble, its GPU, and the jobs in its hands."""

    owner: str
    host: str
    version: str | None
    renewed: datetime
    is_silent: bool
    trouble: str | None
    gpu: str | None
    jobs: Sequence[JobBody]


@dataclass(frozen=True)
class SystemView:
    """The service, its workers and its queue.

    waiting: jobs that have not ended, in the order in which they are taken.
    counts: jobs in each state, without empty ones.
    """

    workers: Sequence[WorkerView]
    waiting: Sequence[JobBody]
    counts: Mapping[JobState, int]
    lease_seconds: float
    database: str
    free_bytes: int
    max_upload_bytes: int
    has_key: bool
    versions: Mapping[str, str]


def system_view(service: Service) -> SystemView:
    """Look at the tables and at this machine's disk."""
    settings = service.settings
    with service.database.reading() as session:
        rows = activity.waiting_jobs(session)
        alive = [each for each in leases.every(session) if each.reaped_by is None]
        counts, at = activity.jobs_in_states(session), leases.database_now(session)
    taken = {row.id: row.owner or "" for row in rows}
    waiting = [job_body(row) for row in rows]
    workers = [
        WorkerView(
            owner=each.owner,
            host=each.host,
            version=each.version,
            renewed=each.renewed_at,
            is_silent=leases.silent_seconds(each, at) > settings.lease_seconds,
            trouble=each.trouble,
            gpu=each.gpu,
            jobs=[job for job in waiting if taken[job.id].startswith(f"{each.owner}/")],
        )
        for each in alive
    ]
    return SystemView(
        workers=workers,
        waiting=waiting,
        counts=counts,
        lease_seconds=settings.lease_seconds,
        database=settings.tables_url.partition(":")[0].partition("+")[0],
        free_bytes=shutil.disk_usage(settings.data_dir).free,
        max_upload_bytes=settings.max_upload_bytes,
        has_key=settings.key is not None,
        versions=versions(),
    )
