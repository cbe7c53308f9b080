"""The queue, as the API and the reaper see it."""

import logging
from collections.abc import Sequence

from dbos import EnqueueOptions

from automl_api.engine.system import (
    GENERATION,
    GPU_QUEUE,
    QUEUE,
    WORKFLOW,
    client_engine,
    make_client,
    storage_errors,
)
from automl_api.settings import Settings
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, JobRow, jobs

logger = logging.getLogger(__name__)

# DBOS takes the lowest number first, and 0 is for what has none.
FIRST_IN_LINE = jobs.MOST_PRIORITY + 1


class JobQueue:
    """Submits and stops jobs. Every call can be repeated without harm.

    A job is run by one workflow for each of its attempts; what its user wants is written into
    its row, where the worker sees it within a second. So a request never waits for a worker,
    and holds also when the worker is dead.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        """Use our tables and the queue's; nothing is opened yet."""
        self._database = database
        self._engine = client_engine(settings)
        self._client = make_client(self._engine)

    def submit(self, job_id: str) -> None:
        """Queue the present attempt of a stored job.

        Raises:
            NotFound: no job has this id.
            StorageFailed: the queue's database is gone; a worker queues the job later.
        """
        with self._database.reading() as session:
            row = jobs.get(session, job_id)
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": queue_of(row),
            "workflow_id": workflow_id(row.id, row.attempt),
            "app_version": GENERATION,
            "priority": FIRST_IN_LINE - row.priority,
        }
        with storage_errors():
            self._client.enqueue(options, row.id, row.attempt)

    def announce(self, job_id: str) -> None:
        """Queue a job that is stored, now, or by a worker's sweep where the queue is away.

        What was stored will be carried out, so nothing is raised that would deny it.
        """
        try:
            self.submit(job_id)
        except StorageFailed as error:
            logger.warning("job %s is stored; a worker queues it later: %s", job_id, error)

    def cancel(self, job_id: str) -> JobRow:
        """Stop a job for good.

        Raises:
            NotFound: no job has this id.
            WrongState: the job has succeeded or failed.
        """
        with self._database.session() as session:
            return jobs.cancel(session, job_id)

    def pause(self, job_id: str) -> JobRow:
        """Stop a job so that it can go on later.

        Raises:
            NotFound: no job has this id.
            WrongState: the job has ended.
        """
        with self._database.session() as session:
            return jobs.pause(session, job_id)

    def resume(self, job_id: str) -> JobRow:
        """Queue a paused job again.

        Raises:
            NotFound: no job has this id.
            WrongState: the job has ended.
        """
        with self._database.session() as session:
            row = jobs.resume(session, job_id)
        self.announce(job_id)
        return row

    def status(self, job_id: str) -> str | None:
        """Return what the queue says of the present attempt; None when it is not queued."""
        with self._database.reading() as session:
            row = jobs.get(session, job_id)
        return self.statuses([row]).get(row.id)

    def statuses(self, rows: Sequence[JobRow]) -> dict[str, str]:
        """Return what the queue says of the present attempts, by job id."""
        by_workflow = {workflow_id(row.id, row.attempt): row.id for row in rows}
        if not by_workflow:
            return {}
        with storage_errors():
            found = self._client.list_workflows(
                workflow_ids=list(by_workflow), load_input=False, load_output=False
            )
        return {by_workflow[each.workflow_id]: each.status for each in found}

    def taken_by(self, executor_id: str) -> list[str]:
        """Return the ids of the workflows that the queue believes in a worker's hands."""
        with storage_errors():
            pending = self._client.list_workflows(
                status="PENDING", executor_id=executor_id, load_input=False, load_output=False
            )
        return [each.workflow_id for each in pending]

    def move(self, workflow_ids: Sequence[str]) -> None:
        """Queue workflows again; they go on behind their last stored step."""
        if not workflow_ids:
            return
        with storage_errors():
            known = self._client.list_workflows(
                workflow_ids=[*workflow_ids], load_input=False, load_output=False
            )
            for each in known:
                self._client.resume_workflow(each.workflow_id, queue_name=each.queue_name or QUEUE)

    def move_from(self, executor_id: str) -> list[str]:
        """Queue again what a dead worker was working on; return the workflows' ids."""
        moved = self.taken_by(executor_id)
        self.move(moved)
        return moved

    def close(self) -> None:
        """Close every connection."""
        self._client.destroy()
        self._engine.dispose()


def queue_of(job: JobRow) -> str:
    """Return the queue that a job waits in: that of workers with a GPU, if it asks for one."""
    recipe = job.spec.get("study", {}).get("recipe", {})
    return GPU_QUEUE if recipe.get("backend") == "cuda" else QUEUE


def workflow_id(job_id: str, attempt: int) -> str:
    """Return the id of the workflow of one attempt at a job."""
    return f"{job_id}.{attempt}"
