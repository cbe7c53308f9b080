"""Pages behind a cursor agree with the numbered pages of the whole list, in any order."""

from typing import Any

import pytest

from automl_compress.core import TrialState
from automl_compress.core.errors import InvalidInput
from automl_compress.store import (
    Database,
    JobRow,
    SqlTrialStore,
    TrialRow,
    browsing,
    jobs,
    sorted_pages,
)
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.measured import complete, failed, suggestion


def walk(fetch: Any, key: str) -> list[Any]:
    """Go through all pages of two rows."""
    found: list[Any] = []
    after = None
    while True:
        page = fetch(after)
        found += [getattr(row, key) for row in page.rows]
        if not page.has_more:
            return found
        after = found[-1]


@pytest.fixture
def with_trials(database: Database, job: JobRow) -> JobRow:
    """Scores that come twice, and that no decimal tells exactly; one trial failed, one runs."""
    store = SqlTrialStore(database, job.id)
    for number, score in enumerate((0.1 + 0.2, 1 / 3, 0.1 + 0.2, None, 0.7, 1 / 3)):
        asked = suggestion(number)
        store.asked(asked)
        store.told(failed(asked) if score is None else complete(asked, score=score))
    store.asked(suggestion(6))
    return job


@pytest.mark.parametrize("is_falling", [True, False])
@pytest.mark.parametrize("column", browsing.TRIAL_COLUMNS)
def test_trials_behind_a_cursor_are_those_of_the_whole_list(
    database: Database, with_trials: JobRow, column: str, is_falling: bool
) -> None:
    order = {"column": column, "is_falling": is_falling}
    with database.reading() as session:
        whole = browsing.trials(session, with_trials.id, limit=50, **order)

        found = walk(
            lambda after: sorted_pages.trials(session, with_trials.id, after, limit=2, **order),
            "number",
        )
        complete_ones = sorted_pages.trials(
            session, with_trials.id, None, TrialRow.state == TrialState.COMPLETE, **order
        )

    assert found == [row.number for row in whole.rows]
    assert len(complete_ones.rows) == 5


@pytest.mark.parametrize("is_falling", [True, False])
@pytest.mark.parametrize("column", browsing.JOB_COLUMNS)
def test_jobs_behind_a_cursor_are_those_of_the_whole_list(
    database: Database, column: str, is_falling: bool
) -> None:
    for name, score in (("b", None), ("A", 1 / 3), ("a", 0.3), ("c", None), ("B", 0.1 + 0.2)):
        new = new_job(database, name=name)
        with database.session() as session:
            jobs.create(session, new).best_score = score
    order = {"column": column, "is_falling": is_falling}
    with database.reading() as session:
        whole = browsing.jobs(session, **order)

        found = walk(lambda after: sorted_pages.jobs(session, after, limit=2, **order), "id")

    assert found == [row.id for row in whole.rows]


def test_a_cursor_that_is_gone_is_refused(database: Database, job: JobRow) -> None:
    order = {"column": "score", "is_falling": True}
    with database.reading() as session:
        with pytest.raises(InvalidInput, match="begin with the first page"):
            sorted_pages.trials(session, job.id, 7, **order)
        with pytest.raises(InvalidInput, match="begin with the first page"):
            sorted_pages.jobs(session, "job_0", column="name", is_falling=False)
        with pytest.raises(InvalidInput, match="choose one of"):
            sorted_pages.jobs(session, None, column="spec", is_falling=False)
