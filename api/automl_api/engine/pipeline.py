"""The seam between the engine, which knows nothing of networks, and the work of a job."""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.orm import Session

from automl_api.engine.worker_trials import WorkerTrialStore
from automl_compress.core.errors import WrongState
from automl_compress.store import (
    ArtifactFiles,
    Database,
    JobRow,
    JobState,
    SqlTrialStore,
    WrittenFile,
    events,
    jobs,
)
from automl_compress.store.artifacts import NewArtifact

# The way of a job that nothing stops.
WAY = (
    JobState.QUEUED,
    JobState.VALIDATING,
    JobState.PROFILING,
    JobState.RUNNING,
    JobState.FINALIZING,
    JobState.SUCCEEDED,
)


@dataclass(frozen=True)
class OwnedJob:
    """A job, as the one execution that may write it sees it.

    Every writing call raises JobTaken once the job belongs to another execution, or its user
    paused or cancelled it: let it through, the engine knows what to do.

    stopping: set when this process is to end. on_event: called behind each `publish`.
    """

    job_id: str
    owner: str
    database: Database
    files: ArtifactFiles
    stopping: threading.Event = field(default_factory=threading.Event)
    on_event: Callable[[], None] = lambda: None

    def row(self) -> JobRow:
        """Return the job's row as it is now."""
        with self.database.reading() as session:
            return jobs.get(session, self.job_id)

    def trials(self) -> SqlTrialStore:
        """Return the store of its trials."""
        return WorkerTrialStore(self.database, self.job_id, self.owner, self.files.directory)

    @contextmanager
    def session(self) -> Generator[tuple[Session, JobRow]]:
        """Open a transaction with the job's row locked."""
        with self.database.session() as session:
            yield session, jobs.lock_owned(session, self.job_id, self.owner)

    def enter(self, state: JobState) -> None:
        """Go forward to a state; nothing happens when the job is there, or farther."""
        with self.session() as (session, row):
            while WAY.index(row.state) < WAY.index(state):
                row = jobs.move(session, self.job_id, WAY[WAY.index(row.state) + 1])

    def set_baseline(self, baseline: Mapping[str, Any]) -> None:
        """Store what was measured of the uncut network."""
        with self.session() as (_, row):
            row.baseline = dict(baseline)

    def publish(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event."""
        with self.session() as (session, _):
            events.append(session, self.job_id, kind, dict(data))
        self.on_event()

    def go_on(self) -> None:
        """Return if long work should go on.

        Raises:
            JobTaken: the job belongs to another execution, or its user stopped it.
            WrongState: this process is to end; another one goes on.
        """
        if self.stopping.is_set():
            raise WrongState(f"this worker stops; job {self.job_id} goes on in another one")
        self.beat()

    def beat(self, seconds: float = 0.0, eta_seconds: float | None = None) -> None:
        """Add time that the study took, and make sure that the job is still owned."""
        with self.database.session() as session:
            jobs.beat(session, self.job_id, self.owner, seconds, eta_seconds)


@dataclass(frozen=True)
class FoundPolicy:
    """A policy document that a job found; policy_id is the id that stands in it."""

    policy_id: str
    trial_number: int
    document: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """What a job ends with; all of it is stored in one transaction.

    result: for the job's row: `policies`, the confirmed measurements from the best to the worst,
        each with its `policy_id`; and `policy_id`, that of the first.
    stop_reason: why the study ended: completed, deadline or stopped.
    """

    result: dict[str, Any]
    stop_reason: str
    policies: Sequence[FoundPolicy] = ()
    artifacts: Sequence[tuple[NewArtifact, WrittenFile]] = field(default=())


class JobDriver(Protocol):
    """A job that this process works on: its network, searcher, study and child processes.

    Laws: whatever a driver holds, `prepare` of another process builds again from the tables;
    `close` may come at any time, from another thread too, ends every child process, and makes
    a running `finalise` raise.
    """

    @property
    def eta_seconds(self) -> float | None:
        """Expected time to the study's end; None before anything can be said."""
        ...

    def advance(self, seconds: float) -> bool:
        """Go on for about so long; return whether the study has ended."""
        ...

    def finalise(self) -> Finished:
        """Confirm the best trials and write the artifacts; also after a restart."""
        ...

    def close(self) -> None:
        """End every child process; evaluations in flight are dropped."""
        ...


class JobPipeline(Protocol):
    """Makes drivers."""

    def prepare(self, job: OwnedJob) -> JobDriver:
        """Build a job's driver from the tables, fresh or interrupted.

        A fresh job enters `profiling` here and has its baseline stored. What is wrong with the
        job is raised, as an AutomlCompressError, and ends it.
        """
        ...
