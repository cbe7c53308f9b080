"""The steps of a job, and the drivers that this process keeps between them."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from automl_api.engine.failure import WorkersDied, problem_of
from automl_api.engine.pipeline import Finished, JobDriver, JobPipeline, OwnedJob
from automl_api.logs import about
from automl_compress.core.errors import AutomlCompressError, ClusterFailed, JobTaken, StorageFailed
from automl_compress.store import (
    ArtifactFiles,
    Database,
    JobRow,
    JobState,
    artifacts,
    jobs,
    policies,
)

SLICE_SECONDS = 0.5  # how soon a job notices that its user paused or cancelled it
MOST_DEATHS = 5  # of workers, one after the other, that got nowhere with a job
STORE_PAUSES = (0.5, 1, 2, 4, 8, 15, 30, 60)  # between tries to store the end of a job
logger = logging.getLogger(__name__)

#: go on: next step of the same kind. ended: next kind of step. leave: nothing more to do here.
#: hand over: this process stops; another one goes on.
Outcome = Literal["go on", "ended", "leave", "hand over"]
Work = Callable[[OwnedJob, JobDriver], Outcome]


@dataclass
class _Place:
    """Where the driver of a job is kept; only one step at a time uses it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    attempt: int = 0
    job: OwnedJob | None = None
    driver: JobDriver | None = None


class JobExecution:
    """Runs steps of jobs; a driver that is not there is built from the tables."""

    def __init__(
        self,
        database: Database,
        files: ArtifactFiles,
        pipeline: JobPipeline,
        executor_id: str,
        chunk_seconds: float,
    ) -> None:
        """Work under the name `executor_id`."""
        self.database, self.files, self.pipeline = database, files, pipeline
        self.executor_id, self.chunk_seconds = executor_id, chunk_seconds
        self.stopping = threading.Event()
        self.handed_over: list[str] = []
        self._running: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._places_lock = threading.Lock()

    @contextmanager
    def working_on(self, workflow: str) -> Generator[None]:
        """Let others know, within the block, that a thread of this process runs the workflow."""
        self._running.add(workflow)
        try:
            yield
        finally:
            self._running.discard(workflow)

    def is_working_on(self, workflow: str) -> bool:
        """Say whether a thread of this process runs the workflow."""
        return workflow in self._running

    def prepare(self, job_id: str, attempt: int) -> Outcome:
        """Build the driver."""

        def work(job: OwnedJob, _driver: JobDriver) -> Outcome:
            job.enter(JobState.RUNNING)
            return "ended"

        return self._with_driver(job_id, attempt, work)

    def advance(self, job_id: str, attempt: int) -> Outcome:
        """Go on with the study for one chunk."""

        def work(job: OwnedJob, driver: JobDriver) -> Outcome:
            end = time.monotonic() + self.chunk_seconds
            while not self.stopping.is_set():
                began = time.monotonic()
                has_ended = driver.advance(min(SLICE_SECONDS, self.chunk_seconds))
                now = time.monotonic()
                job.beat(now - began, driver.eta_seconds)
                if has_ended:
                    return "ended"
                if now >= end:
                    return "go on"
            return "hand over"

        return self._with_driver(job_id, attempt, work)

    def finalise(self, job_id: str, attempt: int) -> Outcome:
        """Confirm the best trials and store what the job ends with."""

        def work(job: OwnedJob, driver: JobDriver) -> Outcome:
            job.enter(JobState.FINALIZING)
            with self._watched(job, driver):
                finished = driver.finalise()
            self._store(job, finished)
            return "leave"

        return self._with_driver(job_id, attempt, work)

    def hand_over(self, job_id: str, attempt: int) -> None:
        """End this attempt so that the next one can be queued."""
        with self.database.session() as session:
            row = jobs.lock(session, job_id)
            if self._may_end(row) and jobs.retry(session, job_id, attempt):
                self.handed_over.append(job_id)

    def give_up(self, job_id: str, attempt: int, error: Exception) -> None:
        """End a job whose steps could not be run."""
        is_expected = isinstance(error, AutomlCompressError)
        logger.error("job %s failed: %s", job_id, error, exc_info=None if is_expected else error)
        with self.database.session() as session:
            row = jobs.lock(session, job_id)
            if row.attempt == attempt and row.state in jobs.ACTIVE and self._may_end(row):
                told = problem_of(error, job_id, self.files.directory)
                jobs.move(session, job_id, JobState.FAILED, error=told)

    def close(self) -> None:
        """Close every driver, whoever uses it."""
        self.stopping.set()
        with self._places_lock:
            drivers = [each.driver for each in self._places.values() if each.driver is not None]
        for driver in drivers:
            driver.close()

    def _with_driver(self, job_id: str, attempt: int, work: Work) -> Outcome:
        place = self._place(job_id)
        with place.lock, about(worker_id=self.executor_id, job_id=job_id, attempt=attempt):
            outcome: Outcome = "leave"
            try:
                outcome = self._attempted(place, job_id, attempt, work)
            finally:
                if outcome in ("leave", "hand over"):
                    self._drop(place)
            return outcome

    def _attempted(self, place: _Place, job_id: str, attempt: int, work: Work) -> Outcome:
        if self.stopping.is_set():
            return "hand over"
        try:
            job, driver = self._driver(place, job_id, attempt)
            return work(job, driver)
        except (StorageFailed, ClusterFailed):
            raise  # the step is run again, from what is stored
        except JobTaken as taken:
            logger.info("%s", taken)
            self._drop(place)
            return "go on" if self._is_ours(job_id, attempt) else "leave"
        except Exception as error:
            if self.stopping.is_set():
                return "hand over"
            self.give_up(job_id, attempt, error)
            return "leave"

    def _driver(self, place: _Place, job_id: str, attempt: int) -> tuple[OwnedJob, JobDriver]:
        if place.job is not None and place.driver is not None and place.attempt == attempt:
            return place.job, place.driver
        self._drop(place)
        owner = f"{self.executor_id}/{uuid.uuid4().hex[:12]}"
        with self.database.session() as session:
            row = jobs.claim(session, job_id, attempt, owner)
        if row.deaths >= MOST_DEATHS:
            raise WorkersDied(row.deaths)
        job = OwnedJob(job_id, owner, self.database, self.files, self.stopping)
        job.enter(JobState.VALIDATING)
        logger.info("job %s begins: attempt %d", job_id, attempt)
        driver = self.pipeline.prepare(job)
        place.attempt, place.job, place.driver = attempt, job, driver
        return job, driver

    def _may_end(self, row: JobRow) -> bool:
        """Say whether no other process owns the job, as one does once this one is declared dead."""
        return row.owner is None or row.owner.startswith(f"{self.executor_id}/")

    def _store(self, job: OwnedJob, finished: Finished) -> None:
        """Store the end of a job, whatever it takes: confirming again would take much longer."""
        for pause in (*STORE_PAUSES, None):
            try:
                return store_finished(job, finished)
            except StorageFailed:
                if pause is None or self.stopping.wait(pause):
                    raise
        return None

    def _is_ours(self, job_id: str, attempt: int) -> bool:
        """Say whether this attempt may go on; who runs it is for the queue to know."""
        with self.database.reading() as session:
            row = jobs.get(session, job_id)
        return row.state in jobs.ACTIVE and row.attempt == attempt

    @contextmanager
    def _watched(self, job: OwnedJob, driver: JobDriver) -> Generator[None]:
        """Close the driver when its job is stopped, or this process is, within the block."""
        done, lost = threading.Event(), threading.Event()

        def watch() -> None:
            while not done.wait(SLICE_SECONDS):
                if self.stopping.is_set() or not _is_owned(job):
                    lost.set()
                    driver.close()
                    return

        watcher = threading.Thread(target=watch, name=f"watch-{job.job_id}", daemon=True)
        watcher.start()
        try:
            yield
        except Exception as error:
            if lost.is_set() and not self.stopping.is_set():
                raise JobTaken(f"job {job.job_id} was stopped while it was finalised") from error
            raise
        finally:
            done.set()
            watcher.join()

    def _place(self, job_id: str) -> _Place:
        with self._places_lock:
            return self._places.setdefault(job_id, _Place())

    def _drop(self, place: _Place) -> None:
        driver, place.driver, place.job = place.driver, None, None
        if driver is not None:
            driver.close()


def store_finished(job: OwnedJob, finished: Finished) -> None:
    """Store everything that a job ends with, in one transaction."""
    with job.session() as (session, row):
        for each in finished.policies:
            policies.add(
                session,
                each.document,
                job_id=job.job_id,
                trial_number=each.trial_number,
                policy_id=each.policy_id,
            )
        for new, written in finished.artifacts:
            artifacts.put(session, new, written)
        row.result = finished.result
        jobs.move(session, job.job_id, JobState.SUCCEEDED, stop_reason=finished.stop_reason)
    logger.info("job %s succeeded", job.job_id)


def _is_owned(job: OwnedJob) -> bool:
    try:
        job.beat()
    except JobTaken:
        return False
    except StorageFailed:  # nobody can take the job while the database is away
        return True
    return True
