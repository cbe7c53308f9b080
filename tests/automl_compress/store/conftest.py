from collections.abc import Iterator
from pathlib import Path

import pytest

from automl_compress.core import Snapshot
from automl_compress.store import (
    ArtifactFiles,
    Database,
    JobRow,
    JobState,
    SqlTrialStore,
    artifacts,
    datasets,
    jobs,
    models,
    policies,
)
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.jobs import NewJob
from tests.automl_compress.store.databases import fresh_database, opened, postgres_server
from tests.automl_compress.store.measured import complete, failed, suggestion

WAY = (JobState.VALIDATING, JobState.PROFILING, JobState.RUNNING, JobState.FINALIZING)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/database.sqlite"
        return
    with fresh_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


@pytest.fixture
def job(database: Database) -> JobRow:
    new = new_job(database)
    with database.session() as session:
        return jobs.create(session, new)


def new_job(database: Database, **changes: str) -> NewJob:
    """A job with a model and a data set of its own."""
    with database.session() as session:
        model = models.add(session, name="net", source={}, weights_file_id=None, details={})
        dataset = datasets.add(session, name="data", source={}, file_id=None, details={})
    content = {"name": "half", "model_id": model.id, "dataset_id": dataset.id} | changes
    return NewJob(**content, spec={"study": {"budget": {"metric": "macs"}}}, tags={})


@pytest.fixture
def finished(database: Database, job: JobRow, tmp_path: Path) -> str:
    """A job that succeeded: three trials, a snapshot, a policy, a file; returns its id."""
    store = SqlTrialStore(database, job.id)
    for number in range(4):
        store.asked(suggestion(number))
    store.told(complete(suggestion(0), score=0.25))
    store.told(failed(suggestion(1)), Snapshot({"learned": 1}))
    store.told(complete(suggestion(2), score=0.75))
    written = ArtifactFiles(tmp_path / "data").write("artifacts/policy.json", [b"content"])
    with database.session() as session:
        for state in WAY:
            jobs.move(session, job.id, state)
        new = NewArtifact(job.id, "policy.json", "policy", "application/json")
        artifacts.put(session, new, written)
        row = policies.add(session, {"id": "pol"}, job_id=job.id, trial_number=2)
        jobs.get(session, job.id).result = {"policy_id": row.id}
        jobs.move(session, job.id, JobState.SUCCEEDED)
    return job.id
