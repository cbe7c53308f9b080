"""What must hold of the tables and files is named where it does not."""

from pathlib import Path

import pytest
from sqlalchemy import delete, update

from automl_compress.store import (
    Database,
    EventRow,
    JobRow,
    PolicyRow,
    TrialRow,
    consistency,
)
from automl_compress.store.tables import SnapshotRow

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


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
