import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl_compress.core import Asked, Cost, Snapshot, Told, TrialState
from automl_compress.core.errors import JobTaken, NotFound, TrialMismatch
from automl_compress.store import Database, JobRow, SqlTrialStore, events, jobs, trials
from automl_compress.store.consistency import violations
from automl_compress.store.tables import SnapshotRow
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.measured import complete, failed, suggestion


@pytest.fixture
def store(database: Database, job: JobRow) -> SqlTrialStore:
    return SqlTrialStore(database, job.id)


def test_asked_trial_is_running_and_told_trial_is_what_was_told(store: SqlTrialStore) -> None:
    store.asked(suggestion(0))
    store.asked(suggestion(1))
    told = complete(suggestion(1))

    store.told(told)

    first, second = store.trials()
    assert first.state is TrialState.RUNNING
    assert second == told


def test_second_ask_with_the_same_policy_changes_nothing(store: SqlTrialStore) -> None:
    store.asked(suggestion(0))
    store.told(complete(suggestion(0)))

    store.asked(suggestion(0))

    assert [trial.state for trial in store.trials()] == [TrialState.COMPLETE]
    assert len(store.history()[1]) == 2


def test_second_ask_with_another_policy_is_refused(store: SqlTrialStore) -> None:
    store.asked(suggestion(0))

    with pytest.raises(TrialMismatch, match="another policy"):
        store.asked(suggestion(0, sparsity=0.25))


def test_tell_without_ask_is_refused(store: SqlTrialStore) -> None:
    with pytest.raises(TrialMismatch, match="never asked"):
        store.told(complete(suggestion(0)))


def test_second_tell_is_refused_and_changes_nothing(store: SqlTrialStore) -> None:
    store.asked(suggestion(0))
    store.told(complete(suggestion(0), score=0.5))

    with pytest.raises(TrialMismatch, match="stored as complete"):
        store.told(complete(suggestion(0), score=0.9), Snapshot({"step": 9}))

    measured = store.trials()[0].measurement
    assert measured is not None
    assert measured.score == 0.5
    assert store.history()[0] is None


def test_history_keeps_the_order_of_asks_and_tells(store: SqlTrialStore) -> None:
    a, b = suggestion(0), suggestion(1)
    store.asked(a)
    store.asked(b)
    store.told(failed(b))
    store.told(complete(a))

    snapshot, happened = store.history()

    assert snapshot is None
    assert [type(each) for each in happened] == [Asked, Asked, Told, Told]
    assert [_number(each) for each in happened] == [0, 1, 1, 0]


def test_history_after_a_snapshot_holds_only_what_came_later(store: SqlTrialStore) -> None:
    for number in range(3):
        store.asked(suggestion(number))
    store.told(complete(suggestion(0)), Snapshot({"step": 1}))
    store.told(complete(suggestion(2)))
    store.asked(suggestion(3))

    snapshot, happened = store.history()

    assert snapshot is not None
    assert snapshot.values == {"step": 1}
    assert [(type(each), _number(each)) for each in happened] == [(Told, 2), (Asked, 3)]


def _number(event: Asked | Told) -> int:
    return event.suggestion.number if isinstance(event, Asked) else event.trial.number


def test_snapshot_comes_back_as_it_was(store: SqlTrialStore) -> None:
    state = Snapshot(
        {"generator": 2**127 + 1, "nested": {"rates": [0.1, 1e-300]}, "none": None},
        {
            "weights": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
            "scalar": np.array(3.5),
            "counts": np.array([1, -1], dtype=np.int64),
            "flags": np.array([True, False]),
            "empty": np.zeros((0, 4)),
        },
    )
    store.asked(suggestion(0))
    store.told(complete(suggestion(0)), state)

    restored, _ = store.history()

    assert restored is not None
    assert restored.values == state.values
    assert restored.arrays.keys() == state.arrays.keys()
    for name, array in state.arrays.items():
        assert restored.arrays[name].dtype == array.dtype
        assert restored.arrays[name].shape == array.shape
        np.testing.assert_array_equal(restored.arrays[name], array)


def test_snapshot_without_arrays_comes_back(store: SqlTrialStore) -> None:
    store.asked(suggestion(0))
    store.told(complete(suggestion(0)), Snapshot({"seed": 7}))

    restored, _ = store.history()

    assert restored is not None
    assert restored.values == {"seed": 7}
    assert restored.arrays == {}


def test_only_the_latest_snapshot_is_kept(database: Database, store: SqlTrialStore) -> None:
    for number in range(3):
        store.asked(suggestion(number))
        store.told(complete(suggestion(number)), Snapshot({"step": number}))

    snapshot, happened = store.history()

    assert snapshot is not None
    assert snapshot.values == {"step": 2}
    assert happened == []
    with database.reading() as session:
        assert session.query(SnapshotRow).count() == 1


def test_tell_whose_snapshot_cannot_be_stored_stores_nothing(
    database: Database, job: JobRow, store: SqlTrialStore
) -> None:
    store.asked(suggestion(0))

    with pytest.raises(TypeError):
        store.told(complete(suggestion(0)), Snapshot({"step": object()}))

    assert store.trials()[0].state is TrialState.RUNNING
    with database.reading() as session:
        assert jobs.get(session, job.id).trials_done == 0


def test_with_an_accuracy_floor_the_best_trial_is_the_cheapest_that_reaches_it(
    database: Database, tmp_path: Path
) -> None:
    study = {"budget": {"metric": "parameters"}, "accuracy_floor": 0.6}
    with database.session() as session:
        job = jobs.create(session, replace(new_job(database), spec={"study": study}))
    store = SqlTrialStore(database, job.id)
    told = [(300, 5), (900, 8), (400, 6), (500, 9), (400, 7), (400, 7)]
    so_far = []
    for number, (parameters, correct) in enumerate(told):
        store.asked(suggestion(number))
        trial = complete(suggestion(number), score=correct / 10)
        assert trial.measurement is not None
        cost = Cost(1000, parameters, 400, 1024)
        measured = replace(trial.measurement, cost=cost, correct=correct)
        store.told(replace(trial, measurement=measured))
        with database.reading() as session:
            so_far.append(jobs.get(session, job.id).best_number)

    with database.reading() as session:
        row = jobs.get(session, job.id)
        best = [each.number for each in trials.best(session, row, 9)]

    with database.reading() as session:
        broken = violations(session, tmp_path)

    assert so_far == [None, 1, 2, 2, 4, 4]
    assert row.best_score == 0.7
    assert best == [4, 5, 2, 3, 1]
    assert broken == []


def test_tell_writes_progress_and_event_in_the_same_transaction(
    database: Database, job: JobRow, store: SqlTrialStore
) -> None:
    for number in range(3):
        store.asked(suggestion(number))
    store.told(complete(suggestion(0), score=0.4))
    store.told(complete(suggestion(1), score=0.6))
    store.told(failed(suggestion(2)))

    with database.reading() as session:
        row = jobs.get(session, job.id)
        happened = events.page(session, job.id, limit=100).rows
        best = trials.best(session, job, 2)

    assert (row.trials_done, row.evaluations) == (3, 3.0)  # a failed trial counts as one
    assert (row.best_score, row.best_number) == (0.6, 1)
    assert [event.seq for event in happened] == list(range(1, 8))
    assert [event.kind for event in happened[4:]] == [
        "trial.completed",
        "trial.completed",
        "trial.failed",
    ]
    assert happened[5].data["best_score"] == 0.6
    assert [each.number for each in best] == [1, 0]


def test_execution_that_lost_its_job_stores_nothing(database: Database, job: JobRow) -> None:
    with database.session() as session:
        jobs.claim(session, job.id, 1, "first")
    zombie = SqlTrialStore(database, job.id, "first")
    zombie.asked(suggestion(0))
    with database.session() as session:
        jobs.claim(session, job.id, 1, "second")

    with pytest.raises(JobTaken, match="second"):
        zombie.told(complete(suggestion(0)))
    with pytest.raises(JobTaken):
        zombie.asked(suggestion(1))

    rightful = SqlTrialStore(database, job.id, "second")
    rightful.asked(suggestion(0))
    rightful.told(complete(suggestion(0)))
    assert len(rightful.trials()) == 1


def test_of_many_tells_at_once_one_is_stored(database: Database, job: JobRow) -> None:
    store = SqlTrialStore(database, job.id)
    store.asked(suggestion(0))
    refused: list[TrialMismatch] = []

    def tell() -> None:
        try:
            store.told(complete(suggestion(0)))
        except TrialMismatch as error:
            refused.append(error)

    threads = [threading.Thread(target=tell) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 5
    assert len(store.history()[1]) == 2


def test_pages_of_trials_follow_the_number(
    database: Database, job: JobRow, store: SqlTrialStore
) -> None:
    for number in range(5):
        store.asked(suggestion(number))
    store.told(complete(suggestion(3)))

    with database.reading() as session:
        first = trials.page(session, job.id, limit=3)
        rest = trials.page(session, job.id, after=first.rows[-1].number, limit=3)
        told = trials.page(session, job.id, states=[TrialState.COMPLETE])
        found = trials.get(session, told.rows[0].id)

    assert ([row.number for row in first.rows], first.has_more) == ([0, 1, 2], True)
    assert ([row.number for row in rest.rows], rest.has_more) == ([3, 4], False)
    assert found.number == 3


def test_unknown_trial_is_not_found(database: Database) -> None:
    with database.reading() as session, pytest.raises(NotFound, match="trl_x"):
        trials.get(session, "trl_x")
