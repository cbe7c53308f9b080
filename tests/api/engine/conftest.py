import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from automl_api.engine import JobQueue, migrate
from automl_api.engine.system import system_url
from automl_api.settings import Settings
from automl_compress.core import Trial, TrialState
from automl_compress.store import (
    Database,
    EventRow,
    JobRow,
    JobState,
    SqlTrialStore,
    events,
    jobs,
    leases,
)
from automl_compress.store.jobs import TERMINAL
from tests.api.engine.toy import toy_spec
from tests.automl_compress.store.conftest import database_url, new_job, postgres_url
from tests.automl_compress.store.databases import opened

ROOT = Path(__file__).resolve().parents[3]
LEASE_SECONDS = 1.5
# Not by -m: children of the pool would import all of the toy's worker again.
TOY_WORKER = (sys.executable, "-c", "from tests.api.engine.toy import serve; serve()")

# Where the other database would prove the same again.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)

__all__ = ["database_url", "postgres_url"]


@dataclass
class Service:
    """Tables, queue and worker processes of one test."""

    settings: Settings
    database: Database
    queue: JobQueue
    log: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, command: Sequence[str] = TOY_WORKER) -> subprocess.Popen[bytes]:
        told = {
            "AUTOML_COMPRESS_DATA_DIR": self.settings.data_dir,
            "AUTOML_COMPRESS_DATABASE_URL": self.settings.tables_url,
            "AUTOML_COMPRESS_LEASE_SECONDS": self.settings.lease_seconds,
            "AUTOML_COMPRESS_POLL_SECONDS": self.settings.poll_seconds,
            "AUTOML_COMPRESS_CHUNK_SECONDS": self.settings.chunk_seconds,
        }
        environment = os.environ | {name: str(value) for name, value in told.items()}
        with (self.log.parent / f"worker-{len(self.workers)}.txt").open("wb") as output:
            worker = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        self.workers.append(worker)
        return worker

    def submit(self, priority: int = 0, **content: Any) -> str:
        new = replace(new_job(self.database), priority=priority)
        new.spec.update(toy_spec(self.log, **content))
        with self.database.session() as session:
            row = jobs.create(session, new)
        self.queue.submit(row.id)
        return row.id

    def job(self, job_id: str) -> JobRow:
        with self.database.reading() as session:
            return jobs.get(session, job_id)

    def trials(self, job_id: str) -> list[Trial]:
        return list(SqlTrialStore(self.database, job_id).trials())

    def events(self, job_id: str) -> list[EventRow]:
        with self.database.reading() as session:
            return list(events.page(session, job_id, limit=200).rows)

    def wait(self, job_id: str, holds: Callable[[JobRow], bool], seconds: float = 30) -> JobRow:
        began, pause = time.monotonic(), 0.02
        while not holds(row := self.job(job_id)):
            waited = time.monotonic() - began
            assert waited < seconds, f"{row.state} {row.trials_done}\n{self.output()}"
            time.sleep(pause if waited < 10 else 10 * pause)  # of a long job no moment is missed
        return row

    def wait_for_state(self, job_id: str, state: JobState, seconds: float = 30) -> JobRow:
        row = self.wait(job_id, lambda row: row.state is state or row.state in TERMINAL, seconds)
        assert row.state is state, f"{row.error}\n{self.output()}"
        return row

    def wait_for_beats(self, owner: str, count: int) -> None:
        deadline = time.monotonic() + 30
        while True:
            with self.database.reading() as session:
                beats = {row.owner: row.beats for row in leases.every(session)}
            if beats[owner] >= count:
                return
            assert time.monotonic() < deadline, beats
            time.sleep(0.02)

    def is_locked(self, job_id: str) -> bool:
        """Whether somebody holds a lock that a worker needs to take over the job."""
        sides = [(make_url(self.settings.tables_url), "compress_job", "id", job_id)]
        table = "workflow_status" if self.database.is_sqlite else "dbos.workflow_status"
        sides.append((system_url(self.settings), table, "workflow_uuid", f"{job_id}.1"))
        return any(_is_locked(*side) for side in sides)

    def output(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.log.parent.glob("worker-*.txt")))

    def ended(self, what: str = "end") -> list[int]:
        """Numbers of the evaluations in the log, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [int(number) for _, word, number in map(str.split, lines) if word == what]


def _is_locked(url: URL, table: str, column: str, value: str) -> bool:
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(url.database or "", timeout=0.3)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False
    engine = create_engine(url.set(drivername="postgresql+psycopg"))
    query = f"SELECT 1 FROM {table} WHERE {column} = :value FOR UPDATE"
    try:
        with engine.begin() as connection:
            connection.execute(text("SET lock_timeout = '300ms'"))
            connection.execute(text(query), {"value": value})
    except OperationalError:
        return True
    finally:
        engine.dispose()
    return False


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Service]:
    with running_service(database_url, tmp_path) as service:
        yield service


@contextmanager
def running_service(
    database_url: str, tmp_path: Path, lease_seconds: float = LEASE_SECONDS
) -> Iterator[Service]:
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        lease_seconds=lease_seconds,
        poll_seconds=0.1,
        chunk_seconds=0.5,
    )
    migrate(settings)
    with opened(database_url) as database:
        queue = JobQueue(database, settings)
        service = Service(settings, database, queue, tmp_path / "evaluations.txt")
        try:
            yield service
        finally:
            for worker in service.workers:
                if worker.poll() is None:
                    worker.send_signal(signal.SIGCONT)
                    worker.kill()
                worker.wait(10)
            queue.close()


def check_every_trial_is_stored_once(service: Service, job_id: str, count: int) -> None:
    trials = service.trials(job_id)
    assert [trial.number for trial in trials] == list(range(count))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    told = [each.data["number"] for each in service.events(job_id) if "completed" in each.kind]
    assert sorted(told) == list(range(count)), "each tell is one event"
