from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automl_compress.core import Cost
from automl_compress.core.errors import InvalidInput
from automl_compress.search.pareto import non_dominated
from automl_compress.store import (
    Database,
    JobRow,
    JobState,
    SqlTrialStore,
    activity,
    browsing,
    jobs,
    policies,
)
from automl_compress.store import points as point_rows
from automl_compress.store.browsing import ALL_JOBS, JobFilter
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.measured import complete, failed, suggestion

SCORES = {0: 0.3, 1: 0.9, 2: 0.5}
MACS = {0: 9_000_000_000, 1: 70, 2: 10_000_000_000}  # beyond 32 bits


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


def test_points_come_without_those_that_failed(database: Database, with_trials: JobRow) -> None:
    with database.reading() as session:
        found = point_rows.points(session, with_trials.id)

    assert [(each.number, each.cost[0]) for each in found] == [*MACS.items()]


def test_jobs_are_found_by_state_and_by_a_part_of_the_name(database: Database) -> None:
    names = ["ResNet half", "100%_plain", "1000 plain"]
    wanted = [new_job(database, name=name) for name in names]
    with database.session() as session:
        rows = [jobs.create(session, each) for each in wanted]
        jobs.cancel(session, rows[0].id)

    def found(wanted: JobFilter = ALL_JOBS) -> list[str]:
        with database.reading() as session:
            return [row.name for row in browsing.jobs(session, wanted).rows]

    assert found() == names[::-1]
    assert found(JobFilter(states=[JobState.CANCELLED])) == ["ResNet half"]
    assert found(JobFilter(text="resnet")) == ["ResNet half"]
    assert found(JobFilter(text="0%_p")) == ["100%_plain"], (
        "what LIKE takes as a wildcard is a letter here"
    )


def test_jobs_are_found_by_their_network_and_their_data(database: Database) -> None:
    new = [new_job(database) for _ in range(2)]
    with database.session() as session:
        first, second = (jobs.create(session, each) for each in new)
        found = browsing.jobs(session, JobFilter(model_id=first.model_id)).rows
        assert [row.id for row in found] == [first.id]
        found = browsing.jobs(session, JobFilter(dataset_id=second.dataset_id)).rows
        assert [row.id for row in found] == [second.id]


def test_jobs_are_found_by_their_searcher_and_their_tags(database: Database) -> None:
    new = [
        replace(new_job(database), tags=tags, spec={"study": {"searcher": searcher}})
        for searcher, tags in (("amc", {"team": "edge"}), ("tpe", {"team": "edge", "try": "2"}))
    ]
    with database.session() as session:
        amc, tpe = (jobs.create(session, each).id for each in new)

    def found(wanted: JobFilter) -> list[str]:
        with database.reading() as session:
            return [row.id for row in browsing.jobs_behind(session, None, wanted).rows]

    assert found(JobFilter(searcher="amc")) == [amc]
    assert found(JobFilter(tags={"team": "edge"})) == [tpe, amc]
    assert found(JobFilter(tags={"team": "edge", "try": "2"})) == [tpe]
    assert found(JobFilter(tags={"team": "cloud"})) == []


def test_the_queue_is_told_in_its_order(database: Database) -> None:
    new = [new_job(database) for _ in range(3)]
    with database.session() as session:
        first, second, third = (jobs.create(session, each) for each in new)
        jobs.cancel(session, second.id)
        assert [row.id for row in activity.waiting_jobs(session)] == [first.id, third.id]
        counts = activity.jobs_in_states(session)
    assert counts == {JobState.QUEUED: 2, JobState.CANCELLED: 1}


def test_the_policies_of_a_network_come_from_all_of_its_jobs(database: Database) -> None:
    new, elsewhere = new_job(database), new_job(database)
    with database.session() as session:
        first, second = jobs.create(session, new), jobs.create(session, new)
        other = jobs.create(session, elsewhere)
        for number, job in enumerate((first, second, other)):
            policies.add(session, {"number": number}, job_id=job.id, trial_number=number)
        found = browsing.policies_for(session, first.model_id)
    assert [(each.trial_number, each.job_id) for each in found] == [(1, second.id), (0, first.id)]


POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None
)
@given(points=POINTS)
def test_the_front_is_what_nothing_beats(database: Database, points: list[tuple[int, int]]) -> None:
    new = new_job(database)
    with database.session() as session:
        job = jobs.create(session, new)
    store = SqlTrialStore(database, job.id)
    for number, (macs, score) in enumerate(points):
        told = complete(suggestion(number), score=score / 10)
        assert told.measurement is not None
        measured = replace(told.measurement, cost=Cost(macs, 1, 1, 1))
        store.asked(suggestion(number))
        store.told(replace(told, measurement=measured))

    with database.reading() as session:
        found = [row.number for row in browsing.front(session, job.id, "macs")]

    expected = non_dominated(store.trials(), "macs")
    assert found == [trial.number for trial in reversed(expected)]


def test_a_trial_that_does_not_tell_a_cost_is_not_on_its_front(database: Database) -> None:
    new = new_job(database)
    with database.session() as session:
        job = jobs.create(session, new)
    store = SqlTrialStore(database, job.id)
    store.asked(suggestion(0))
    store.told(complete(suggestion(0)))

    with database.reading() as session:
        assert browsing.front(session, job.id, "micronet") == []
        assert len(browsing.front(session, job.id, "macs")) == 1
