"""What must hold of the tables and files is named where it does not, and a backup keeps it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from automl_compress.core import Snapshot
from automl_compress.core.errors import InvalidInput, WrongState
from automl_compress.store import (
    ArtifactFiles,
    Database,
    EventRow,
    JobRow,
    JobState,
    PolicyRow,
    SqlTrialStore,
    TrialRow,
    artifacts,
    consistency,
    jobs,
    policies,
)
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.backup import backup, restore
from automl_compress.store.table import Table
from automl_compress.store.tables import SnapshotRow
from tests.automl_compress.store.databases import fresh_database, opened
from tests.automl_compress.store.measured import complete, failed, suggestion

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WAY = (JobState.VALIDATING, JobState.PROFILING, JobState.RUNNING, JobState.FINALIZING)


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


def found(database: Database, tmp_path: Path) -> list[tuple[str, str]]:
    with database.reading() as session:
        rows = consistency.violations(session, tmp_path / "data")
    return [(each.subject, each.detail) for each in rows]


def test_nothing_is_wrong_with_what_the_repositories_wrote(
    database: Database, finished: str, tmp_path: Path
) -> None:
    assert found(database, tmp_path) == []


BREAKS = {
    "a hole": (
        update(TrialRow).where(TrialRow.number == 3).values(number=7),
        "4 trials, the last one is number 7",
    ),
    "a lost trial": (
        delete(TrialRow).where(TrialRow.number == 0),
        "trials_done is 3, 2 trials are told",
    ),
    "an outcome without a tell": (
        update(TrialRow).where(TrialRow.number == 2).values(told_position=None),
        "trial 2 is complete, but its outcome is not",
    ),
    "a place taken twice": (
        update(TrialRow).where(TrialRow.number == 3).values(asked_position=1),
        "two trials have asked_position 1",
    ),
    "a snapshot of the future": (
        update(SnapshotRow).values(position=99),
        "its snapshot is of 99, its history ends at 7",
    ),
    "a gap in the events": (
        delete(EventRow).where(EventRow.seq == 3),
        "events up to",
    ),
    "a false best": (
        update(JobRow).values(best_score=0.9),
        "best_score is 0.9, that of the best trial is 0.75",
    ),
    "a false effort": (
        update(JobRow).values(evaluations=2.0),
        "evaluations are 2.0, those of its trials 3.0",
    ),
    "an owner of what ended": (update(JobRow).values(owner="somebody"), "is stopped, but owned"),
    "no result": (update(JobRow).values(result=None), "succeeded has no result"),
    "no reason": (update(JobRow).values(state="failed"), "failed does not say why"),
    "no end": (update(JobRow).values(finished_at=None), "has ended, but not when"),
    "a lost policy": (delete(PolicyRow), "its result names policy"),
    "a policy of no trial": (
        update(PolicyRow).values(trial_number=50),
        "is of trial 50, which is not stored",
    ),
}


@on_sqlite
@pytest.mark.parametrize("name", BREAKS)
def test_what_was_broken_is_named(
    database: Database, finished: str, tmp_path: Path, name: str
) -> None:
    statement, said = BREAKS[name]
    with database.session() as session:
        session.execute(statement)

    details = [detail for _, detail in found(database, tmp_path)]

    assert any(said in detail for detail in details), details


@on_sqlite
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is not in the data directory"), (b"short", "7 were stored"), (b"CONTENT", "other")],
)
def test_a_file_that_is_lost_or_changed_is_named(
    database: Database, finished: str, tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "data" / "artifacts" / "policy.json"
    path.unlink() if content is None else path.write_bytes(content)

    [(subject, detail)] = found(database, tmp_path)

    assert subject.startswith("art_")
    assert said in detail


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database to restore into."""
    if request.param == "sqlite":
        with opened(f"sqlite:///{tmp_path}/other/database.sqlite") as database:
            yield database
        return
    with fresh_database(request.getfixturevalue("postgres_url")) as url, opened(url) as database:
        yield database


def test_a_restored_service_has_every_row_and_file(
    database: Database, other: Database, finished: str, tmp_path: Path
) -> None:
    target = tmp_path / "service.backup"

    backup(database, tmp_path / "data", target)
    restore(target, other, tmp_path / "restored")

    assert target.stat().st_mode & 0o077 == 0, "it holds digests of keys"
    assert rows(other) == rows(database)
    restored = tmp_path / "restored" / "artifacts" / "policy.json"
    assert restored.read_bytes() == b"content"
    with other.reading() as session:
        assert consistency.violations(session, tmp_path / "restored") == []
    with pytest.raises(WrongState, match="restore into an empty one"):
        restore(target, other, tmp_path / "restored")


def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.reading() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=str)
            for table in Table.metadata.sorted_tables
        }


@on_sqlite
def test_a_job_that_was_running_belongs_to_nobody_after_a_restore(
    database: Database, job: JobRow, tmp_path: Path
) -> None:
    with database.session() as session:
        jobs.claim(session, job.id, 1, "worker/execution")
    backup(database, tmp_path / "data", tmp_path / "service.backup")

    with opened(f"sqlite:///{tmp_path}/other/database.sqlite") as other:
        restore(tmp_path / "service.backup", other, tmp_path / "restored")
        with other.session() as session:
            assert jobs.claim(session, job.id, 1, "other/execution").deaths == 0


@on_sqlite
def test_a_file_that_is_no_backup_is_refused(database: Database, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")

    with pytest.raises(InvalidInput, match="is no backup"):
        restore(tmp_path / "text", database, tmp_path / "restored")
