from dataclasses import replace

import pytest

from automl_compress.core import Cost
from automl_compress.core.errors import InvalidInput
from automl_compress.store import Database, JobRow, JobState, SqlTrialStore, browsing, jobs
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.measured import complete, failed, suggestion

SCORES = {0: 0.3, 1: 0.9, 2: 0.5}
MACS = {0: 900, 1: 70, 2: 1000}


@pytest.fixture
def with_trials(database: Database, job: JobRow) -> JobRow:
    """Three measured trials, then one that failed."""
    store = SqlTrialStore(database, job.id)
    for number, score in SCORES.items():
        told = complete(suggestion(number), score=score)
        assert told.measurement is not None
        cost = Cost(MACS[number], 10 * number, 100 - number, 1)
        store.asked(suggestion(number))
        store.told(replace(told, measurement=replace(told.measurement, cost=cost)))
    store.asked(suggestion(3))
    store.told(failed(suggestion(3)))
    return job


@pytest.mark.parametrize(
    ("column", "is_falling", "numbers"),
    [
        ("number", False, [0, 1, 2, 3]),
        ("number", True, [3, 2, 1, 0]),
        ("score", True, [1, 2, 0, 3]),
        ("score", False, [0, 2, 1, 3]),
        ("macs", False, [1, 0, 2, 3]),  # as numbers: 70 is before 900
        ("parameters", True, [2, 1, 0, 3]),
        ("size_bytes", False, [2, 1, 0, 3]),
    ],
)
def test_trials_come_in_the_order_of_a_column_those_without_a_value_last(
    database: Database, with_trials: JobRow, column: str, is_falling: bool, numbers: list[int]
) -> None:
    with database.reading() as session:
        page = browsing.trials(session, with_trials.id, column=column, is_falling=is_falling)

    assert [row.number for row in page.rows] == numbers


def test_every_column_can_be_sorted_by(database: Database, with_trials: JobRow) -> None:
    with database.reading() as session:
        for column in browsing.TRIAL_COLUMNS:
            assert len(browsing.trials(session, with_trials.id, column=column).rows) == 4


def test_an_unknown_column_is_refused_with_those_there_are(
    database: Database, with_trials: JobRow
) -> None:
    with database.reading() as session, pytest.raises(InvalidInput, match="size_bytes"):
        browsing.trials(session, with_trials.id, column="policy")


def test_a_page_behind_the_last_one_is_the_last_one(
    database: Database, with_trials: JobRow
) -> None:
    with database.reading() as session:
        page = browsing.trials(session, with_trials.id, number=9, limit=3)

    assert (page.number, page.last, page.rows_in_all) == (2, 2, 4)
    assert [row.number for row in page.rows] == [3]


def test_candidates_come_without_those_that_failed(database: Database, with_trials: JobRow) -> None:
    with database.reading() as session:
        found = browsing.finished_candidates(session, with_trials.id)

    assert [(number, measured["cost"]["macs"]) for number, measured in found] == [*MACS.items()]


def test_jobs_are_found_by_state_and_by_a_part_of_the_name(database: Database) -> None:
    names = ["ResNet half", "100%_plain", "1000 plain"]
    wanted = [new_job(database, name=name) for name in names]
    with database.session() as session:
        rows = [jobs.create(session, each) for each in wanted]
        jobs.cancel(session, rows[0].id)

    def found(**wanted: object) -> list[str]:
        with database.reading() as session:
            return [row.name for row in browsing.jobs(session, **wanted).rows]  # type: ignore[arg-type]

    assert found() == names[::-1]
    assert found(states=[JobState.CANCELLED]) == ["ResNet half"]
    assert found(text="resnet") == ["ResNet half"]
    assert found(text="0%_p") == ["100%_plain"], "what LIKE takes as a wildcard is a letter here"
