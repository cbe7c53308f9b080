"""Jobs without faults, and faults that need no second process."""

import pytest

from automl_api.engine.lease import Lease
from automl_api.engine.reaper import Reaper
from automl_compress.core.errors import StorageFailed
from automl_compress.store import JobState, artifacts, jobs, leases
from tests.api.engine.conftest import Service, check_every_trial_is_stored_once
from tests.fakes import FixedClock


@pytest.mark.slow
def test_job_passes_every_state_and_stores_its_result(service: Service) -> None:
    service.start_worker()
    job_id = service.submit(evaluations=10)

    row = service.wait_for_state(job_id, JobState.SUCCEEDED)

    states = [each.data["state"] for each in service.events(job_id) if each.kind == "job.status"]
    assert states == [
        "queued", "validating", "profiling", "running", "finalizing", "succeeded",
    ]  # fmt: skip
    assert (row.stop_reason, row.baseline, row.owner) == ("completed", {"accuracy": 0.9}, None)
    assert row.elapsed_seconds > 0
    check_every_trial_is_stored_once(service, job_id, 10)
    with service.database.reading() as session:
        (artifact,) = artifacts.of_job(session, job_id)
    assert (service.settings.data_dir / artifact.path).stat().st_size == artifact.size_bytes


@pytest.mark.slow
def test_job_that_cannot_be_done_fails_with_a_problem_document(service: Service) -> None:
    service.start_worker()
    job_id = service.submit(broken=True)

    row = service.wait_for_state(job_id, JobState.FAILED)

    assert row.error is not None
    assert row.error["code"] == "invalid-data"
    assert row.error["detail"] == "the data are empty; give at least one image"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(100.0)


class HealthyLease(Lease):
    """A lease whose beats are counted by hand."""

    healthy_since = 0.0


@pytest.fixture
def reaper(service: Service, clock: FixedClock) -> Reaper:
    lease = HealthyLease(service.settings.tables_url, "me", 10.0, lambda: None)
    with service.database.session() as session:
        leases.register(session, "me", "host")
        leases.register(session, "other", "host")
    return Reaper(service.database, service.queue, lease, {"job_x.1"}.__contains__, clock)


def test_silent_worker_is_dead_after_a_full_lease_of_watching(
    service: Service, reaper: Reaper, clock: FixedClock
) -> None:
    assert reaper.reap() == []
    clock.seconds += 9.9
    assert reaper.reap() == [], "not a full lease yet"
    clock.seconds += 0.2

    assert reaper.reap() == ["other"]

    with service.database.session() as session:
        assert not leases.renew(session, "other")
        assert [row.owner for row in leases.every(session)] == ["me"]


def test_beating_worker_lives(service: Service, reaper: Reaper, clock: FixedClock) -> None:
    for _ in range(5):
        assert reaper.reap() == []
        with service.database.session() as session:
            leases.renew(session, "other")
        clock.seconds += 9


def test_nobody_is_judged_in_the_lease_after_an_outage(
    reaper: Reaper, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper.reap()
    monkeypatch.setattr(HealthyLease, "healthy_since", None)
    clock.seconds += 50
    assert reaper.reap() == [], "the outage silenced everybody"
    monkeypatch.setattr(HealthyLease, "healthy_since", clock.seconds)
    clock.seconds += 9
    assert reaper.reap() == []
    clock.seconds += 2
    assert reaper.reap() == ["other"]


def test_job_that_the_queue_never_heard_of_is_queued(
    service: Service, reaper: Reaper, clock: FixedClock
) -> None:
    job_id = service.submit()
    with service.database.session() as session:
        jobs.pause(session, job_id)
        jobs.resume(session, job_id)  # as if the process died before it queued the new attempt
    assert reaper.sweep() == []
    clock.seconds += 11

    assert reaper.sweep() == [job_id]

    assert service.queue.status(job_id) == "ENQUEUED"
    assert service.job(job_id).attempt == 2


def test_submitting_again_changes_nothing(service: Service) -> None:
    job_id = service.submit()

    service.queue.submit(job_id)

    assert service.queue.status(job_id) == "ENQUEUED"


def test_queue_without_its_database_says_so_at_once(service: Service) -> None:
    from automl_api.engine import JobQueue

    url = "postgresql://nobody@127.0.0.1:1/nothing"
    away = service.settings.model_copy(update={"database_url": url})
    job_id = service.submit()
    queue = JobQueue(service.database, away)

    with pytest.raises(StorageFailed, match="nothing was queued"):
        queue.submit(job_id)
    queue.close()
