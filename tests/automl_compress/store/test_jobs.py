import itertools
from dataclasses import replace

import pytest

from automl_compress.core.errors import InvalidInput, JobTaken, NotFound, WrongState
from automl_compress.store import Database, DesiredState, JobRow, JobState, events, jobs
from automl_compress.store.browsing import JobFilter, jobs_behind
from automl_compress.store.jobs import MOVES, TERMINAL
from tests.automl_compress.store.conftest import new_job


def put(database: Database, job_id: str, state: JobState) -> None:
    """Bring a job into a state, whatever the table says."""
    with database.session() as session:
        jobs.lock(session, job_id).state = state


def test_every_move_is_made_or_refused_as_the_table_says(database: Database, job: JobRow) -> None:
    for before, after in itertools.product(JobState, JobState):
        put(database, job.id, before)

        with database.session() as session:
            if after in MOVES[before]:
                assert jobs.move(session, job.id, after).state is after
                continue
            with pytest.raises(WrongState, match=f"is {before} and cannot become {after}"):
                jobs.move(session, job.id, after)
        with database.reading() as session:
            assert jobs.get(session, job.id).state is before


def test_returned_row_counts_the_event_that_was_just_written(
    database: Database, job: JobRow
) -> None:
    assert job.event_count == 1
    with database.session() as session:
        assert jobs.pause(session, job.id).event_count == 2


def test_terminal_states_are_the_three_ends() -> None:
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL
    assert set(MOVES) == set(JobState)


def test_move_to_an_end_keeps_the_reason_and_frees_the_job(database: Database, job: JobRow) -> None:
    problem = {"title": "No such model", "status": 404}
    with database.session() as session:
        jobs.claim(session, job.id, 1, "worker")
        jobs.move(session, job.id, JobState.FAILED, error=problem)

    with database.reading() as session:
        row = jobs.get(session, job.id)
        last = events.page(session, job.id).rows[-1]
    assert (row.error, row.owner, row.event_count) == (problem, None, 2)
    assert row.finished_at is not None
    assert last.kind == "job.status"
    assert last.data == {"state": "failed", "error": problem}


def test_pause_resume_and_cancel_are_harmless_when_repeated(
    database: Database, job: JobRow
) -> None:
    for request, state in (
        (jobs.pause, JobState.PAUSED),
        (jobs.pause, JobState.PAUSED),
        (jobs.resume, JobState.QUEUED),
        (jobs.resume, JobState.QUEUED),
        (jobs.cancel, JobState.CANCELLED),
        (jobs.cancel, JobState.CANCELLED),
    ):
        with database.session() as session:
            row = request(session, job.id)
        assert row.state is state

    assert row.desired_state is DesiredState.CANCEL
    assert row.attempt == 2
    with database.reading() as session:
        assert [event.data["state"] for event in events.page(session, job.id).rows] == [
            "queued",
            "paused",
            "queued",
            "cancelled",
        ]


@pytest.mark.parametrize("request_", [jobs.pause, jobs.resume, jobs.cancel])
def test_ended_job_takes_no_request(database: Database, job: JobRow, request_) -> None:
    put(database, job.id, JobState.SUCCEEDED)

    with database.session() as session, pytest.raises(WrongState, match="it has ended"):
        request_(session, job.id)


def test_paused_job_and_later_attempt_cannot_be_claimed(database: Database, job: JobRow) -> None:
    with database.session() as session:
        jobs.pause(session, job.id)
    with database.session() as session, pytest.raises(JobTaken, match="paused"):
        jobs.claim(session, job.id, 1, "worker")
    with database.session() as session:
        jobs.resume(session, job.id)
    with database.session() as session, pytest.raises(JobTaken, match="attempt 2"):
        jobs.claim(session, job.id, 1, "worker")

    with database.session() as session:
        assert jobs.claim(session, job.id, 2, "worker").owner == "worker"


def test_beat_adds_time_only_for_the_owner(database: Database, job: JobRow) -> None:
    with database.session() as session:
        jobs.claim(session, job.id, 1, "worker")
    for _ in range(2):
        with database.session() as session:
            row = jobs.beat(session, job.id, "worker", 1.5, 20.0)
    assert (row.elapsed_seconds, row.eta_seconds) == (3.0, 20.0)

    with database.session() as session:
        jobs.pause(session, job.id)
    with database.session() as session, pytest.raises(JobTaken):
        jobs.beat(session, job.id, "worker", 1.5, None)


def test_same_idempotency_key_gives_the_same_job(database: Database) -> None:
    new = new_job(database, idempotency_key="k1", request_digest="a")
    with database.session() as session:
        first = jobs.create(session, new)
    with database.session() as session:
        again = jobs.create(session, new)
    with database.session() as session, pytest.raises(InvalidInput, match="idempotency key"):
        jobs.create(session, replace(new, request_digest="b"))

    assert first.id == again.id


def test_pages_of_jobs_come_newest_first_and_filtered(database: Database) -> None:
    new = new_job(database)
    with database.session() as session:
        made = [jobs.create(session, new).id for _ in range(5)]
    put(database, made[1], JobState.RUNNING)

    with database.reading() as session:
        first = jobs_behind(session, None, limit=2)
        second = jobs_behind(session, first.rows[-1].id, limit=3)
        running = jobs_behind(session, None, JobFilter(states=[JobState.RUNNING]))
        other = jobs_behind(session, None, JobFilter(model_id="mdl_other"))

    assert [row.id for row in (*first.rows, *second.rows)] == made[::-1]
    assert (first.has_more, second.has_more) == (True, False)
    assert [row.id for row in running.rows] == [made[1]]
    assert other.rows == []


@pytest.mark.parametrize("limit", [0, 201])
def test_page_refuses_limits_out_of_range(database: Database, limit: int) -> None:
    with database.reading() as session, pytest.raises(InvalidInput, match="1 to 200"):
        jobs_behind(session, None, limit=limit)


def test_unknown_job_is_not_found(database: Database) -> None:
    with database.session() as session:
        for call in (jobs.get, jobs.lock):
            with pytest.raises(NotFound, match="job_x"):
                call(session, "job_x")
        with pytest.raises(NotFound, match="job_x"):
            events.append(session, "job_x", "log", {})
