"""Workers' rows: what they say of themselves, and the deaths that jobs count."""

from datetime import timedelta

import pytest

from automl_compress.store import Database, JobRow, events, jobs, leases
from automl_compress.store.moments import now


def test_a_worker_says_what_it_is_and_what_troubles_it(database: Database) -> None:
    with database.session() as session:
        leases.register(session, "one", "host", 17, "0.1.0")
        assert leases.renew(session, "one", 0.5, "the disk is full")

    with database.reading() as session:
        [row] = leases.every(session)
    assert (row.version, row.process_id, row.beats) == ("0.1.0", 17, 1)
    assert (row.clock_ahead_seconds, row.trouble) == (0.5, "the disk is full")
    assert row.started_at is not None
    assert row.started_at <= row.renewed_at


def test_clocks_of_one_machine_agree(database: Database) -> None:
    with database.reading() as session:
        assert abs(leases.clock_ahead_seconds(session)) < 5


@pytest.mark.parametrize("ahead_seconds", [-600.0, 0.0, 600.0])
def test_silence_is_told_in_the_database_s_time_whatever_the_worker_s_clock_shows(
    database: Database, ahead_seconds: float
) -> None:
    at = now()
    with database.session() as session:
        row = leases.register(session, "one", "host", 17)
        row.clock_ahead_seconds = ahead_seconds
        row.renewed_at = at + timedelta(seconds=ahead_seconds - 7)

    assert leases.silent_seconds(row, at) == pytest.approx(7)


def take(database: Database, job: JobRow, worker: str) -> int:
    """Claim a job and return how many deaths it counts."""
    with database.session() as session:
        return jobs.claim(session, job.id, 1, f"{worker}/execution").deaths


def test_a_job_counts_the_workers_that_died_and_got_nowhere(
    database: Database, job: JobRow
) -> None:
    assert take(database, job, "first") == 0
    assert take(database, job, "first") == 0  # it lives, and only begins anew
    assert [take(database, job, f"worker-{number}") for number in range(3)] == [1, 2, 3]
    with database.session() as session:
        events.append(session, job.id, "trial.completed", {"number": 0})
    assert take(database, job, "after-progress") == 1


def test_a_job_that_was_given_back_counts_no_death(database: Database, job: JobRow) -> None:
    take(database, job, "first")
    with database.session() as session:
        assert jobs.retry(session, job.id, 1)
        assert jobs.claim(session, job.id, 2, "second/execution").deaths == 0
