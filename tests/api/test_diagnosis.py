"""What the doctor says of a worker."""

import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from automl_api.diagnosis import Finding, diagnose, diagnose_worker
from automl_api.engine.worker import run_worker
from automl_api.settings import Settings
from automl_compress import __version__
from automl_compress.core.errors import ClusterFailed
from automl_compress.store import Database, jobs, leases, schema
from automl_compress.store.moments import now
from tests.automl_compress.store.conftest import new_job

HERE = socket.gethostname()
AT = now()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=None, lease_seconds=30, port=0)


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "database_now", lambda _: AT)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.tables_url)
    database.upgrade()
    yield database
    database.close()


def worker(settings: Settings) -> Finding:
    return next(each for each in diagnose_worker(settings) if each.name == "worker")


def register(database: Database, host: str, silent_seconds: float, reaper: str | None) -> None:
    with database.session() as session:
        row = leases.register(session, f"worker of {host}", host, version=__version__)
        row.renewed_at = leases.database_now(session) - timedelta(seconds=silent_seconds)
        row.reaped_by = reaper


def change(database: Database, host: str, changes: Mapping[str, str | None]) -> None:
    with database.session() as session:
        row = next(each for each in leases.every(session) if each.host == host)
        for name, value in changes.items():
            setattr(row, name, value)


@pytest.mark.usefixtures("_stopped_clock")
def test_a_worker_that_beats_is_alive(database: Database, settings: Settings) -> None:
    register(database, HERE, 5, None)

    assert worker(settings) == Finding(
        "worker", "ok", f"the last sign of life on {HERE} came 5 s ago"
    )


@pytest.mark.usefixtures("_stopped_clock")
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


def found(settings: Settings, name: str) -> Finding:
    return next(each for each in diagnose(settings) if each.name == name)


@pytest.mark.usefixtures("_stopped_clock")
def test_jobs_that_wait_for_a_gpu_in_vain_are_named(database: Database, settings: Settings) -> None:
    new = new_job(database)
    new.spec["study"] = {"recipe": {"backend": "cuda"}}
    with database.session() as session:
        row = jobs.create(session, new)
    register(database, HERE, 5, None)

    told = found(settings, "workers")
    assert told.mark == "wrong"
    assert (
        f"no worker has a GPU, and jobs that ask for one wait (backend cuda): {row.id};"
        in told.text
    )

    change(database, HERE, {"gpu": "T4"})
    assert found(settings, "workers").mark == "ok"


@pytest.mark.usefixtures("_stopped_clock")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.0.9"}, "is of version 0.0.9, this is"),
        ({"version": None}, "is of version unknown"),
        ({"trouble": "the disk is full"}, "worker of elsewhere: the disk is full"),
    ],
)
def test_a_worker_of_another_version_or_in_trouble_is_wrong(
    database: Database, settings: Settings, changes: dict[str, str | None], said: str
) -> None:
    register(database, HERE, 5, None)
    assert found(settings, "workers").mark == "ok"
    register(database, "elsewhere", 5, None)
    change(database, "elsewhere", changes)

    worker_finding = found(settings, "workers")

    assert worker_finding.mark == "wrong"
    assert said in worker_finding.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.0.9"}, "is of version 0.0.9, this is"),
        ({"trouble": "the disk is full"}, f"worker of {HERE}: the disk is full"),
    ],
)
def test_a_worker_is_judged_by_its_own_row_alone(
    database: Database, settings: Settings, changes: dict[str, str], said: str
) -> None:
    for host in (HERE, "elsewhere"):
        register(database, host, 5, None)
    register(database, "silent", 40, None)

    change(database, "elsewhere", changes)
    beside_it = diagnose_worker(settings)
    change(database, HERE, changes)
    itself = worker(settings)

    assert [each for each in beside_it if each.mark == "wrong"] == []
    assert {"database", "disk", "clock", "worker"} <= {each.name for each in beside_it}
    assert itself.mark == "wrong"
    assert said in itself.text
    assert "elsewhere" not in itself.text


def test_a_worker_is_not_unwell_for_its_cluster(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where a node is of another version
    register(database, HERE, 0, None)

    found = diagnose_worker(settings.model_copy(update={"ray_address": "head:6379"}))

    assert [each.name for each in found if each.mark == "wrong"] == []


@pytest.mark.usefixtures("_stopped_clock")
def test_silent_workers_are_named_and_wrong_where_nobody_else_serves(
    database: Database, settings: Settings
) -> None:
    assert found(settings, "workers").mark == "note"
    register(database, "elsewhere", 40, None)
    alone = found(settings, "workers")
    register(database, HERE, 5, None)
    replaced = found(settings, "workers")

    said = "silent for longer than a lease: worker of elsewhere"
    assert alone.mark == "wrong"
    assert f"{said}; nobody serves" in alone.text
    assert replaced.mark == "note"
    assert said in replaced.text


def test_clocks_that_disagree_are_wrong(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(settings, "clock").mark == "ok"
    monkeypatch.setattr(leases, "database_now", lambda _: now() - timedelta(seconds=60))

    clock = found(settings, "clock")

    assert clock.mark == "wrong"
    assert "the clock is 60 s ahead of the database's" in clock.text


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_database_behind_or_ahead_of_the_code_is_wrong(
    database: Database, settings: Settings, revision: str
) -> None:
    with database.session() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))

    finding = found(settings, "database")

    assert finding.mark == "wrong"
    assert f"is at revision {revision}" in finding.text


def test_a_folder_that_cannot_be_written_is_wrong() -> None:
    finding = found(Settings(data_dir=Path("/proc/self"), port=0), "disk")

    assert finding.mark == "wrong"
    assert "/proc/" in finding.text


def test_a_cluster_that_cannot_be_used_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    on_a_cluster = settings.model_copy(update={"ray_address": "head:6379"})

    found = next(each for each in diagnose(on_a_cluster) if each.name == "cluster")

    assert found.mark == "wrong"
    assert "RAY_ADDRESS is 'head:6379', and Ray is not installed here" in found.text


def test_a_worker_that_cannot_use_its_cluster_ends_before_it_takes_a_job(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    on_a_cluster = settings.model_copy(update={"ray_address": "head:6379"})

    with pytest.raises(ClusterFailed, match="Ray is not installed here"):
        run_worker(on_a_cluster, threading.Event())
