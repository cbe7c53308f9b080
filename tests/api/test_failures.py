"""Why a trial failed, as its user reads it: nowhere does it say where the worker's files lie."""

import pytest

from automl_api.engine import OwnedJob
from automl_api.engine.failure import MOST_CHARACTERS
from automl_compress.core import Choice, Policy, Suggestion
from automl_compress.store import JobState, jobs, models
from tests.api.accounts import DETAILS, Person
from tests.api.conftest import RunningService


@pytest.fixture
def failed(service: RunningService) -> str:
    """The id of a job whose last trial failed, by pages of what a library said of a file."""
    ids = Person(service, "").furnish().ids
    job_id, group = ids["job_id"], {"name": "conv1", "channels": 2}
    with service.database.session() as session:
        groups = [{**group, "producers": ["conv1"], "consumers": []}]
        graph = {**DETAILS["graph"], "groups": groups}
        models.get(session, ids["model_id"]).details = {**DETAILS, "graph": graph}
        jobs.claim(session, job_id, jobs.get(session, job_id).attempt, "test")
    job = OwnedJob(job_id, "test", service.database, service.files)
    job.enter(JobState.VALIDATING)
    job.enter(JobState.RUNNING)
    asked = Suggestion(1, Policy((Choice("conv1", 0.25),)))
    job.trials().asked(asked)
    place = service.settings.data_dir / "files" / "0a.npz"
    job.trials().told(asked.failed(f"OSError: {place} is cut short\n" + "frame\n" * 10_000))
    return job_id


def test_a_failed_trial_does_not_say_where_its_worker_has_its_files(
    service: RunningService, failed: str
) -> None:
    told = {
        path: service.http.get(path).text
        for path in (
            f"/v1/jobs/{failed}/trials",
            f"/v1/jobs/{failed}/trials.csv",
            f"/v1/jobs/{failed}/events",
            f"/v1/jobs/{failed}/logs",
            f"/jobs/{failed}?trial=1",
            f"/v1/jobs/{failed}/report.html",
        )
    }

    for path, text in told.items():
        assert str(service.settings.data_dir) not in text, path
        assert text.count("frame") < MOST_CHARACTERS, path
    for path in list(told)[:5]:
        assert "OSError: 0a.npz is cut short" in told[path], path
