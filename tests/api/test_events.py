import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from automl_api.jobs import event_feed
from automl_api.jobs import events as job_events
from automl_compress.store import JobState, events
from automl_compress.store import jobs as job_rows
from tests.api.conftest import RunningService, job_body, problem


def submit(service: RunningService, model: dict[str, Any], dataset: dict[str, Any]) -> str:
    return service.post("/v1/jobs", job_body(model, dataset)).json()["id"]


def append(service: RunningService, job_id: str, kind: str, **data: Any) -> None:
    with service.database.session() as session:
        events.append(session, job_id, kind, data)


def fail(service: RunningService, job_id: str) -> None:
    with service.database.session() as session:
        job_rows.move(session, job_id, JobState.FAILED, error={"detail": "it broke"})


def test_events_come_in_pages(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job_id = submit(service, model, dataset)
    for number in range(3):
        append(service, job_id, "trial.started", number=number)

    page = service.http.get(f"/v1/jobs/{job_id}/events", params={"limit": 3}).json()
    rest = service.http.get(page["next"]).json()

    told = page["data"] + rest["data"]
    assert [event["seq"] for event in told] == [1, 2, 3, 4]
    assert told[0]["type"] == "job.status"
    assert told[0]["data"] == {"state": "queued"}
    assert told[3]["data"] == {"number": 2}
    assert not rest["has_more"]


def test_a_stream_goes_on_behind_the_last_event_and_ends_with_the_job(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job_id = submit(service, model, dataset)
    append(service, job_id, "trial.started", number=0)
    fail(service, job_id)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "1"}

    response = service.http.get(f"/v1/jobs/{job_id}/events", headers=headers)

    assert response.headers["Content-Type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in response.text.strip().split("\n\n")]
    assert blocks[0] == ["retry: 1000"]
    assert [block[0] for block in blocks[1:]] == ["event: trial.started", "event: job.status"]
    assert [block[-1] for block in blocks[1:]] == ["id: 2", "id: 3"]


def test_a_stream_shows_events_as_they_happen(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job_id = submit(service, model, dataset)

    def work() -> None:
        for number in range(3):
            append(service, job_id, "trial.completed", number=number)
            time.sleep(0.1)
        fail(service, job_id)

    worker = threading.Thread(target=work)
    with service.client() as client:
        stream = client.job(job_id).stream()
        first = next(stream)
        worker.start()
        told = [first, *stream]
    worker.join()

    assert [event.seq for event in told] == [1, 2, 3, 4, 5]
    assert told[-1].data["state"] == "failed"
    assert told[-1].at.endswith("Z")


def test_a_long_stream_comes_whole_and_in_order(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job_id, count = submit(service, model, dataset), 2 * event_feed.PAGE_EVENTS
    for number in range(count):
        append(service, job_id, "log", number=number, text="x" * (event_feed.PIECE_BYTES // 3))
    fail(service, job_id)

    with service.client() as client:
        told = list(client.job(job_id).stream())

    assert [event.seq for event in told] == list(range(1, count + 3))
    assert [event.data["number"] for event in told[1:-1]] == list(range(count))


def test_nothing_follows_in_a_job_that_was_deleted(service: RunningService) -> None:
    watched = event_feed.WatchedJob("job_0", service.database)

    with ThreadPoolExecutor(1) as pool:  # a browser of another test has the loop of this thread
        page = pool.submit(asyncio.run, watched.events_after(3)).result()

    assert not page.pieces


def test_a_silent_stream_sends_signs_of_life(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_events, "KEEPALIVE_SECONDS", 0.3)
    job_id = submit(service, model, dataset)
    headers = {"Accept": "text/event-stream"}

    with service.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        for line in response.iter_lines():
            if line == ": ping":
                break
        else:
            pytest.fail("the stream ended without a sign of life")


def test_a_client_whose_connection_drops_misses_nothing(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submit(service, model, dataset)
    for number in range(5):
        append(service, job_id, "trial.completed", number=number)
    fail(service, job_id)
    original = httpx.Response.iter_lines
    drops = 0

    def dropping(response: httpx.Response) -> Any:
        nonlocal drops
        for count, line in enumerate(original(response)):
            if count > 12 and drops < 2:
                drops += 1
                raise httpx.ReadError("the connection was lost")
            yield line

    monkeypatch.setattr(httpx.Response, "iter_lines", dropping)
    with service.client() as client:
        told = [event.seq for event in client.job(job_id).stream()]

    assert drops == 2
    assert told == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Accept": "text/csv"}, 406, "not-acceptable"),
        ({"Accept": "text/event-stream", "Last-Event-ID": "last"}, 422, "invalid"),
    ],
)
def test_what_a_stream_cannot_be_is_refused(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    job_id = submit(service, model, dataset)

    problem(service.http.get(f"/v1/jobs/{job_id}/events", headers=headers), status, code)


def test_a_stream_of_an_unknown_job_is_a_problem(service: RunningService) -> None:
    headers = {"Accept": "text/event-stream"}

    problem(service.http.get("/v1/jobs/job_0/events", headers=headers), 404, "not-found")
