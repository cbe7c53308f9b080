"""Waiting for a job by one request, its log as text, and lists in other orders."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.transport import TookTooLong
from automl_compress.store import JobState, events
from automl_compress.store import jobs as job_rows
from tests.api.conftest import RunningService, job_body, problem
from tests.api.test_jobs import store_trials, submit

Json = dict[str, Any]
REQUESTS_AT_ONCE = 60  # more than the service has threads


@pytest.fixture
def job_id(service: RunningService, model: Json, dataset: Json) -> str:
    return submit(service, job_body(model, dataset))["id"]


def end(service: RunningService, job_id: str) -> None:
    with service.database.session() as session:
        error = {"title": "It broke", "detail": "a line\nand 'another' one", "code": "internal"}
        job_rows.move(session, job_id, JobState.FAILED, error=error)


def test_an_answer_waits_until_the_job_has_ended(service: RunningService, job_id: str) -> None:
    timer = threading.Timer(0.5, end, (service, job_id))
    timer.start()

    answer = service.http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})

    timer.join()
    assert answer.json()["status"] == "failed"
    assert answer.headers["Preference-Applied"] == "wait=60"
    again = service.http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})
    assert again.elapsed.total_seconds() < 30, "it has ended, so there is nothing to wait for"


def test_an_answer_waits_no_longer_than_is_preferred(service: RunningService, job_id: str) -> None:
    began = time.monotonic()
    answer = service.http.get(
        f"/v1/jobs/{job_id}", headers={"Prefer": "respond-async, wait=1; x=y"}
    )

    assert answer.json()["status"] == "queued"
    assert 0.9 < time.monotonic() - began < 30
    capped = service.http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=0"})
    assert capped.headers["Preference-Applied"] == "wait=0"
    assert "Preference-Applied" not in service.http.get(f"/v1/jobs/{job_id}").headers


def test_who_waits_holds_no_thread_of_the_service(service: RunningService, job_id: str) -> None:
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        headers = {"Prefer": "wait=60"}
        waiting = [
            pool.submit(service.http.get, f"/v1/jobs/{job_id}", headers=headers)
            for _ in range(REQUESTS_AT_ONCE)
        ]
        while not waiting[0].running():
            time.sleep(0.01)
        for _ in range(5):
            assert service.http.get("/v1/jobs?limit=1").status_code == 200
        assert not any(each.done() for each in waiting)
        end(service, job_id)
        assert {each.result().json()["status"] for each in waiting} == {"failed"}


def test_what_cannot_be_waited_for_is_refused(service: RunningService, job_id: str) -> None:
    told = service.http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=30s"})
    assert problem(told, 422, "invalid")["errors"][0]["parameter"] == "Prefer"
    missing = service.http.get("/v1/jobs/job_0", headers={"Prefer": "wait=60"})
    problem(missing, 404, "not-found")


def test_the_client_waits_by_few_requests(service: RunningService, job_id: str) -> None:
    with service.client() as client:
        job = client.job(job_id)
        with pytest.raises(TookTooLong):
            job.wait(0.2)
        end(service, job_id)
        assert job.wait(60).status == "failed"


def test_the_log_is_a_line_for_each_event(service: RunningService, job_id: str) -> None:
    with service.database.session() as session:
        hostile = 'x\n2026-01-01T00:00:00.000Z INFO    9 forged "line"'
        events.append(session, job_id, "trial.started", {"number": 0, "note": hostile})
        told = {"number": 0, "score": 1 / 3, "wall_seconds": 2.0, "cost": {"macs": 5}}
        told["policy"] = {"groups": [1]}
        events.append(session, job_id, "trial.completed", told)
    end(service, job_id)

    answer = service.http.get(f"/v1/jobs/{job_id}/logs")

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    assert len(lines) == 4, "a note makes no line of its own"
    parts = [line.split(maxsplit=3) for line in lines]
    assert [each[1] for each in parts] == ["INFO", "INFO", "INFO", "ERROR"]
    assert [each[2] for each in parts] == ["1", "2", "3", "4"]
    assert parts[0][3] == "job.status state=queued"
    assert '"x\\n2026' in lines[1]
    assert parts[2][3] == "trial.completed number=0 score=0.333333 wall_seconds=2 cost.macs=5"
    assert "error.detail=\"a line\\nand 'another' one\"" in lines[3]
    assert service.http.get(f"/v1/jobs/{job_id}/logs?after=3").text.splitlines() == lines[3:]
    printed = CliRunner().invoke(app, ["jobs", "logs", job_id, "--url", service.url])
    assert printed.stdout.splitlines() == lines
    page = service.http.get(f"/jobs/{job_id}").text
    assert "The end of its log" in page
    assert "trial.completed number=0" in page
    problem(service.http.get("/v1/jobs/job_0/logs"), 404, "not-found")


def test_lists_come_in_the_order_that_is_wanted(
    service: RunningService, job_id: str, model: Json, dataset: Json
) -> None:
    store_trials(service, job_id, [0.2, 0.9, 0.5])
    for name in ("b sorted", "A sorted", "c sorted"):
        submit(service, job_body(model, dataset) | {"name": name})
    with service.client() as client:
        falling = [each["number"] for each in client.job(job_id).trials(sort="-score")]
        named = client.list("/v1/jobs", text="sorted", sort="name", limit=2)
        names = [each["name"] for each in named]

    assert falling == [1, 2, 0]
    assert names == ["A sorted", "b sorted", "c sorted"]
    listed = CliRunner().invoke(
        app, ["jobs", "ls", "--text", "sorted", "--sort=-name", "--url", service.url]
    )
    assert listed.stdout.index("c sorted") < listed.stdout.index("A sorted")
    for path in ("/v1/jobs?sort=policy", f"/v1/jobs/{job_id}/trials?sort=score%20desc"):
        told = problem(service.http.get(path), 422, "invalid")
        assert told["errors"][0]["parameter"] == "sort"
        assert "searcher" in told["detail"] or "size_bytes" in told["detail"]
    gone = service.http.get("/v1/jobs?sort=name&after=job_0")
    assert "first page" in problem(gone, 422, "invalid")["detail"]
