"""Killed, stopped and sleeping workers: no stored trial is lost, or evaluated again."""

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from automl_compress.core import TrialState
from automl_compress.store import JobState, policies
from tests.api.engine.conftest import (
    Service,
    check_every_trial_is_stored_once,
    on_postgres,
    on_sqlite,
    running_service,
)

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_job_outlives_three_killed_workers(service: Service) -> None:
    count = 60
    worker = service.start_worker()
    job_id = service.submit(evaluations=count, seconds=0.05)
    begun_when_stored: dict[int, int] = {}
    for goal in (10, 25, 40):
        service.wait(job_id, lambda row, goal=goal: row.trials_done >= goal)
        worker.kill()
        worker.wait()
        begun = Counter(service.ended("begin"))
        told = [each for each in service.trials(job_id) if each.state is TrialState.COMPLETE]
        begun_when_stored |= {each.number: begun[each.number] for each in told}
        worker = service.start_worker()

    row = service.wait_for_state(job_id, JobState.SUCCEEDED)

    check_every_trial_is_stored_once(service, job_id, count)
    assert (row.trials_done, row.attempt) == (count, 1)
    begun = Counter(service.ended("begin"))
    assert begun_when_stored == {number: begun[number] for number in begun_when_stored}
    assert sorted(begun) == list(range(count))
    assert sum(begun.values()) <= count + 3, "only the one in flight at each kill ran again"
    with service.database.reading() as session:
        assert len(policies.of_job(session, job_id)) == 1


def stop_outside_of_transactions(
    service: Service, worker: subprocess.Popen[bytes], job_id: str
) -> None:
    """Send SIGSTOP; a process that holds SQLite's lock would stop every other one with it."""
    for _ in range(50):
        worker.send_signal(signal.SIGSTOP)
        while not is_stopped(worker):  # on a busy machine other threads run on for a while
            time.sleep(0.01)
        if not service.is_locked(job_id):
            return
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.03)
    pytest.fail("the worker never was outside of a transaction")


def is_stopped(worker: subprocess.Popen[bytes]) -> bool:
    """Whether every thread is: the signal reaches one, which then stops the others."""
    states = [path.read_text() for path in Path(f"/proc/{worker.pid}/task").glob("*/stat")]
    return all(each.rpartition(")")[2].split()[0] == "T" for each in states)


def test_zombie_past_its_lease_stores_nothing_and_serves_on(service: Service) -> None:
    count = 60
    zombie = service.start_worker()
    job_id = service.submit(evaluations=count, seconds=0.1)
    service.wait(job_id, lambda row: row.trials_done >= 5)
    other = service.start_worker()
    stop_outside_of_transactions(service, zombie, job_id)
    at_stop = service.job(job_id)
    service.wait(job_id, lambda row: row.owner not in (None, at_stop.owner))
    service.wait(job_id, lambda row: row.trials_done >= at_stop.trials_done + 3)
    zombie.send_signal(signal.SIGCONT)

    service.wait_for_state(job_id, JobState.SUCCEEDED)

    check_every_trial_is_stored_once(service, job_id, count)
    begun = Counter(service.ended("begin"))
    assert sum(begun.values()) <= count + 3, "the zombie ran at most what it had in flight"
    other.send_signal(signal.SIGTERM)
    other.wait(20)
    again = service.submit(evaluations=3)
    service.wait_for_state(again, JobState.SUCCEEDED)  # by the former zombie, under a new name


@on_postgres
def test_cancel_stops_within_two_seconds(service: Service) -> None:
    service.start_worker()
    job_id = service.submit(evaluations=1000, seconds=0.05)
    service.wait(job_id, lambda row: row.trials_done >= 3)

    assert service.queue.cancel(job_id).state is JobState.CANCELLED
    assert service.queue.cancel(job_id).state is JobState.CANCELLED

    time.sleep(2)
    done = service.job(job_id).trials_done
    following = service.submit(evaluations=3)
    service.wait_for_state(following, JobState.SUCCEEDED)
    assert service.job(job_id).trials_done == done
    assert service.job(job_id).state is JobState.CANCELLED


@on_sqlite
def test_paused_job_goes_on_where_it_was(service: Service) -> None:
    service.start_worker()
    job_id = service.submit(evaluations=30, seconds=0.05)
    service.wait(job_id, lambda row: row.trials_done >= 5)
    service.queue.pause(job_id)
    time.sleep(1)
    paused = service.job(job_id)

    service.queue.resume(job_id)

    assert (paused.state, paused.stop_reason) == (JobState.PAUSED, "user")
    row = service.wait_for_state(job_id, JobState.SUCCEEDED)
    check_every_trial_is_stored_once(service, job_id, 30)
    assert row.attempt == 2
    assert service.ended().count(0) == 1, "stored trials were not evaluated again"


def test_paused_and_resumed_at_once_by_another_worker(service: Service) -> None:
    service.start_worker()
    service.start_worker()
    job_id = service.submit(evaluations=40, seconds=0.05)
    for goal in (3, 8, 13):
        service.wait(job_id, lambda row, goal=goal: row.trials_done >= goal)
        service.queue.pause(job_id)
        service.queue.resume(job_id)

    service.wait_for_state(job_id, JobState.SUCCEEDED)

    check_every_trial_is_stored_once(service, job_id, 40)


@on_postgres
def test_stopped_worker_hands_its_job_over_at_once(database_url: str, tmp_path: Path) -> None:
    # A lease that nobody could wait for: it outlasts the test's patience many times.
    with running_service(database_url, tmp_path, lease_seconds=600) as service:
        first = service.start_worker()
        job_id = service.submit(evaluations=60, seconds=0.05)
        service.wait(job_id, lambda row: row.trials_done >= 5)
        service.start_worker()

        first.send_signal(signal.SIGTERM)

        assert first.wait(20) == 0
        done = service.job(job_id).trials_done
        service.wait(job_id, lambda row: row.trials_done > done)
        service.wait_for_state(job_id, JobState.SUCCEEDED)
        check_every_trial_is_stored_once(service, job_id, 60)


@on_sqlite
def test_worker_killed_while_it_finalises_is_followed(service: Service) -> None:
    worker = service.start_worker()
    job_id = service.submit(evaluations=3, seconds=0.01, finalise=1.0)
    service.wait_for_state(job_id, JobState.FINALIZING)
    worker.kill()
    worker.wait()
    service.start_worker()

    row = service.wait_for_state(job_id, JobState.SUCCEEDED)

    assert service.ended().count(0) == 1
    with service.database.reading() as session:
        stored = policies.of_job(session, job_id)
    assert [each.id for each in stored] == [(row.result or {})["policy_id"]]


@on_postgres
def test_cancel_interrupts_finalising(service: Service) -> None:
    service.start_worker()
    job_id = service.submit(evaluations=3, seconds=0.01, finalise=60.0)
    service.wait_for_state(job_id, JobState.FINALIZING)
    service.queue.cancel(job_id)

    following = service.submit(evaluations=3)

    service.wait_for_state(following, JobState.SUCCEEDED, seconds=10)
    assert service.job(job_id).state is JobState.CANCELLED
