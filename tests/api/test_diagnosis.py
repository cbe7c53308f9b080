"""What the doctor says of a worker."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from automl_api.diagnosis import Finding, diagnose
from automl_api.settings import Settings
from automl_compress.store import Database, leases
from automl_compress.store.moments import now

HERE = socket.gethostname()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=None, lease_seconds=30, port=0)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.tables_url)
    database.upgrade()
    yield database
    database.close()


def worker(settings: Settings) -> Finding:
    return next(each for each in diagnose(settings, True) if each.name == "worker")


def register(database: Database, host: str, silent_seconds: float, reaper: str | None) -> None:
    with database.session() as session:
        row = leases.register(session, f"worker of {host}", host)
        row.renewed_at = now() - timedelta(seconds=silent_seconds)
        row.reaped_by = reaper


def test_a_worker_that_beats_is_alive(database: Database, settings: Settings) -> None:
    register(database, HERE, 5, None)

    assert worker(settings) == Finding(
        "worker", "ok", f"the last sign of life on {HERE} came 5 s ago"
    )


@pytest.mark.parametrize(
    ("host", "silent_seconds", "reaper", "said"),
    [
        ("elsewhere", 5, None, "none of"),
        (HERE, 40, None, "40 s ago, a lease is 30 s; restart"),
        (HERE, 5, "another", "none of"),
    ],
)
def test_a_worker_that_is_dead_or_elsewhere_is_wrong(
    database: Database,
    settings: Settings,
    host: str,
    silent_seconds: float,
    reaper: str | None,
    said: str,
) -> None:
    register(database, host, silent_seconds, reaper)

    found = worker(settings)

    assert found.mark == "wrong"
    assert said in found.text


def test_without_a_database_no_worker_is_alive(settings: Settings) -> None:
    assert worker(settings).mark == "wrong"


def test_a_worker_is_looked_for_only_where_it_is_expected(settings: Settings) -> None:
    assert "worker" not in {each.name for each in diagnose(settings)}
