"""Priorities, workers that die of a job, and tables that a newer version took over."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from automl_api.engine import health
from automl_api.engine.execution import MOST_DEATHS, JobExecution
from automl_api.engine.lease import Lease
from automl_api.settings import Settings
from automl_compress.store import ArtifactFiles, Database, JobState, jobs, leases, schema
from tests.api.engine.conftest import Service, check_every_trial_is_stored_once, on_sqlite
from tests.api.engine.toy import ToyPipeline

WITH_GPU = (sys.executable, "-c", "from tests.api.engine.toy import serve; serve(gpu='T4')")


@pytest.mark.slow
@pytest.mark.e2e
@on_sqlite
def test_the_job_of_the_highest_priority_is_taken_first(service: Service) -> None:
    ordered = [service.submit(evaluations=2, priority=priority) for priority in (0, -5, 7, 0)]
    service.start_worker()

    rows = [service.wait_for_state(job_id, JobState.SUCCEEDED) for job_id in ordered]

    begun = sorted(range(4), key=lambda place: rows[place].started_at or rows[place].created_at)
    assert begun == [2, 0, 3, 1]


@pytest.mark.slow
@pytest.mark.e2e
def test_what_asks_for_a_gpu_waits_for_a_worker_that_has_one(service: Service) -> None:
    asking = service.submit(evaluations=20, seconds=0.1, backend="cuda")
    modest = service.submit(evaluations=2)
    service.start_worker()
    service.wait_for_state(modest, JobState.SUCCEEDED)
    assert service.job(asking).state is JobState.QUEUED
    assert service.queue.status(asking) == "ENQUEUED"

    worker = service.start_worker(WITH_GPU)
    service.wait(asking, lambda row: row.trials_done >= 3)
    with service.database.reading() as session:
        assert [row.gpu for row in leases.every(session) if row.process_id == worker.pid] == ["T4"]
    worker.kill()
    worker.wait()
    # The living worker finds it out, and leaves the job to one with a GPU.
    service.wait(asking, lambda _: service.queue.status(asking) == "ENQUEUED")
    done = service.job(asking).trials_done
    other = service.submit(evaluations=2)
    service.wait_for_state(other, JobState.SUCCEEDED)
    assert service.job(asking).trials_done == done
    service.start_worker(WITH_GPU)
    service.wait_for_state(asking, JobState.SUCCEEDED)
    check_every_trial_is_stored_once(service, asking, 20)


@on_sqlite
def test_a_job_that_workers_die_of_fails_instead_of_killing_them_all(service: Service) -> None:
    job_id = service.submit()
    with service.database.session() as session:
        for number in range(MOST_DEATHS):
            jobs.claim(session, job_id, 1, f"worker-{number}/execution")
    files = ArtifactFiles(service.settings.data_dir)
    execution = JobExecution(service.database, files, ToyPipeline(), "last-worker", 1.0)

    assert execution.prepare(job_id, 1) == "leave"

    row = service.job(job_id)
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert f"{MOST_DEATHS} workers died one after the other" in row.error["detail"]


@on_sqlite
def test_a_beat_stops_the_worker_whose_tables_became_those_of_a_newer_version(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    lost = threading.Event()
    lease = Lease(service.settings.tables_url, "me", 0.03, lost.set)
    lease.start()
    try:
        with service.database.session() as session:
            session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))

        assert lost.wait(20)
        assert lease.healthy_since is None
        assert "is at revision 9999, which this version does not know" in caplog.text
    finally:
        lease.stop()


@on_sqlite
def test_a_worker_says_its_trouble_in_its_row_and_once_in_its_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    said = threading.Event()

    def trouble() -> str:
        said.set()
        return "the disk is full"

    lease = Lease(service.settings.tables_url, "me", 0.03, said.clear, trouble)
    lease.start()
    assert said.wait(20)
    service.wait_for_beats("me", 3)
    lease.stop()

    with service.database.reading() as session:
        [row] = leases.every(session)
    assert row.trouble == "the disk is full"
    assert caplog.text.count("the disk is full") == 1


@pytest.mark.slow
@pytest.mark.e2e
def test_a_worker_of_an_older_version_does_not_start_on_newer_tables(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database(settings.tables_url)
    database.upgrade()
    with database.session() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    database.close()

    command = [sys.executable, "-m", "automl_api.cli", "worker", "--data-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode != 0
    assert "install the newer version of automl-compress" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_disk_that_takes_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.disk_trouble(tmp_path / "not" / "there" / "yet") is None
    assert "cannot be written" in str(health.disk_trouble(Path("/proc/self")))
    monkeypatch.setattr(health, "LEAST_FREE_BYTES", 1e30)
    assert "make room" in str(health.disk_trouble(tmp_path))


def test_a_clock_that_is_off_is_named() -> None:
    assert health.clock_trouble(None) is None
    assert health.clock_trouble(-2.0) is None
    assert "60 s ahead of the database's" in str(health.clock_trouble(60.0))
    assert "60 s behind the database's" in str(health.clock_trouble(-60.0))
