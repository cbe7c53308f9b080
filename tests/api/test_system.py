"""Workers, metrics and logs, as an operator sees them."""

import json
import logging
from datetime import timedelta

import pytest

from automl_api.logs import about, set_up_logs
from automl_compress import __version__
from automl_compress.store import leases
from automl_compress.store.moments import now
from tests.api.conftest import RunningService


def register(service: RunningService, owner: str, silent_seconds: float = 0.0) -> None:
    with service.database.session() as session:
        row = leases.register(session, owner, "machine", 17, __version__)
        row.renewed_at = now() - timedelta(seconds=silent_seconds)
        if owner == "troubled":
            row.trouble = "the disk is full"


@pytest.fixture(scope="module", autouse=True)
def _workers(service: RunningService) -> None:
    for owner, silent_seconds in (("living", 1.0), ("lost", 100.0), ("troubled", 2.0)):
        register(service, owner, silent_seconds)


def test_workers_are_listed_with_what_they_say_of_themselves(service: RunningService) -> None:
    content = service.http.get("/v1/workers").json()

    assert content["lease_seconds"] == 30.0
    found = {each["id"]: each for each in content["data"]}
    assert {owner: each["state"] for owner, each in found.items()} == {
        "living": "alive",
        "lost": "silent",
        "troubled": "alive",
    }
    living = found["living"]
    assert (living["host"], living["process_id"]) == ("machine", 17)
    assert (living["version"], living["jobs"], living["trouble"]) == (__version__, [], None)
    assert 1 <= living["silent_seconds"] < 30
    assert found["troubled"]["trouble"] == "the disk is full"


def test_the_page_of_the_system_names_versions_and_troubles(service: RunningService) -> None:
    page = service.http.get("/system").text

    assert "the disk is full" in page
    assert f"<td>{__version__}</td>" in page


def test_metrics_tell_jobs_workers_and_requests_by_route(service: RunningService) -> None:
    service.http.get("/v1/jobs/job_00000000000000000000")
    service.http.get("/v1/jobs/job_00000000000000000001")
    service.http.get("/nowhere")

    answer = service.http.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = set(answer.text.splitlines())
    assert {
        f'automl_compress_build_info{{version="{__version__}"}} 1.0',
        "automl_compress_database_up 1.0",
        'automl_compress_jobs{state="queued"} 0.0',
        "automl_compress_trials 0.0",
        'automl_compress_workers{state="alive"} 1.0',
        'automl_compress_workers{state="silent"} 1.0',
        'automl_compress_workers{state="troubled"} 1.0',
        'automl_compress_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"} 2.0',
        'automl_compress_requests_total{method="GET",route="other",status="404"} 1.0',
    } <= lines
    assert "job_0000" not in answer.text, "ids would make a series each"


@pytest.fixture
def _root_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the root logger back as it was."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)


@pytest.mark.usefixtures("_root_logger")
def test_json_lines_say_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "info")
    logger = logging.getLogger("automl_api.test")

    with about(job_id="job_1", attempt=2):
        logger.warning("trial %d failed", 3, extra={"trial": 3})
    logger.info("nothing in particular")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "automl_api.test",
        "message": "trial 3 failed",
        "job_id": "job_1",
        "attempt": 2,
        "trial": 3,
    }
    assert "job_id" not in second


@pytest.mark.usefixtures("_root_logger")
def test_lines_for_people_name_the_job_and_the_trial(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("text", "warning")
    logger = logging.getLogger("automl_api.test")

    with about(job_id="job_1", attempt=2):
        logger.warning("trial %d failed", 3, extra={"trial": 3})
    logger.info("not shown")

    assert capsys.readouterr().err == "trial 3 failed (job_id=job_1, trial=3)\n"
