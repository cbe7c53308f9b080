from collections.abc import Iterator
from pathlib import Path

import pytest

from automl_compress.store import Database, JobRow, datasets, jobs, models
from automl_compress.store.jobs import NewJob
from tests.automl_compress.store.databases import fresh_database, opened, postgres_server


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
