"""A disk that takes nothing more while a job runs: the kernel refuses the worker's bytes."""

import resource
import subprocess
import sys
import time

import pytest

from automl_compress.store import JobState
from tests.api.engine.conftest import (
    LEASE_SECONDS,
    Service,
    check_every_trial_is_stored_once,
    on_postgres,
    on_sqlite,
)

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

# A worker that gives up its steps after seconds instead of minutes.
IMPATIENT = (
    sys.executable,
    "-c",
    "from automl_api.engine import serve_worker, workflows\n"
    "from automl_api.settings import Settings\n"
    "from tests.api.engine.toy import ToyPipeline\n"
    "workflows.ATTEMPTS_OF_A_STEP = workflows.ATTEMPTS_TO_FINALISE = 2\n"
    "serve_worker(Settings(), ToyPipeline())\n",
)


def limit_files(worker: subprocess.Popen[bytes], size_bytes: int) -> None:
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def fill_disk(worker: subprocess.Popen[bytes]) -> None:
    limit_files(worker, 32_768)  # tables and journals, ours and the queue's, are longer than that


def make_room(worker: subprocess.Popen[bytes]) -> None:
    limit_files(worker, resource.RLIM_INFINITY)


@on_sqlite
def test_a_job_goes_on_when_there_is_room_again(service: Service) -> None:
    worker = service.start_worker()
    job_id = service.submit(evaluations=60, seconds=0.05)
    service.wait(job_id, lambda row: row.trials_done >= 10)
    fill_disk(worker)
    time.sleep(1)
    at_first = service.job(job_id)
    time.sleep(LEASE_SECONDS)
    full = service.job(job_id)
    make_room(worker)

    service.wait_for_state(job_id, JobState.SUCCEEDED)

    assert (full.state, full.trials_done) == (JobState.RUNNING, at_first.trials_done)
    check_every_trial_is_stored_once(service, job_id, 60)
    assert worker.poll() is None
    assert "Traceback" not in service.output(), "one line for each try"


@on_sqlite
def test_a_job_goes_on_when_there_is_room_after_its_steps_were_given_up(service: Service) -> None:
    """The queue cannot store that they were: for it, the job stays in the worker's hands."""
    worker = service.start_worker(IMPATIENT)
    job_id = service.submit(evaluations=60, seconds=0.05)
    service.wait(job_id, lambda row: row.trials_done >= 10)
    fill_disk(worker)
    time.sleep(3 * LEASE_SECONDS)
    full = service.job(job_id)
    make_room(worker)

    service.wait_for_state(job_id, JobState.SUCCEEDED)

    assert full.state is JobState.RUNNING
    check_every_trial_is_stored_once(service, job_id, 60)
    following = service.submit(evaluations=3)
    service.wait_for_state(following, JobState.SUCCEEDED)


@on_postgres
def test_a_job_whose_files_have_no_room_fails_and_says_so(service: Service) -> None:
    """The database is elsewhere and takes what comes; the data directory takes nothing."""
    worker = service.start_worker(IMPATIENT)
    job_id = service.submit(evaluations=3, seconds=0.01, finalise=1.0)
    service.wait_for_state(job_id, JobState.FINALIZING)
    limit_files(worker, 0)

    row = service.wait_for_state(job_id, JobState.FAILED)

    assert row.error is not None
    assert (row.error["code"], row.error["status"]) == ("storage-failed", 507)
    assert "Make room" in row.error["detail"]
    assert row.result is None
    directory = service.settings.data_dir
    assert not [path for path in directory.rglob("*") if path.is_file()], "nothing half written"
    make_room(worker)
    following = service.submit(evaluations=3)
    service.wait_for_state(following, JobState.SUCCEEDED)
