"""What other jobs measured answers a suggestion where network, data, recipe and images agree."""

from dataclasses import replace
from typing import Any

import pytest

from automl_compress.core import Recipe, Suggestion
from automl_compress.store import Database, SqlRecall, SqlTrialStore, jobs
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.measured import complete, suggestion

FINGERPRINT = {"graph": "sha256:g", "weights": "sha256:w"}


def stored_job(
    database: Database, fingerprint: Any = FINGERPRINT, **changes: str
) -> tuple[str, str]:
    new = new_job(database, **changes)
    new.spec["model"] = {} if fingerprint is None else {"fingerprint": fingerprint}
    with database.session() as session:
        row = jobs.create(session, new)
        return row.id, row.dataset_id


def store(database: Database, job_id: str, asked: Suggestion, **changes: Any) -> None:
    trials, trial = SqlTrialStore(database, job_id), complete(asked)
    assert trial.measurement is not None
    measured = replace(trial.measurement, **changes)
    trials.asked(asked)
    trials.told(replace(trial, measurement=measured, role=asked.role, images=asked.images))


def recall_for(database: Database, dataset_id: str, **changes: Any) -> SqlRecall:
    usual: dict[str, Any] = {
        "database": database,
        "job_id": "job_of_another",
        "dataset_id": dataset_id,
        "fingerprint": FINGERPRINT,
        "recipe": Recipe(),
        "images": 10,
        "evaluations": lambda images: images / 10,
    }
    return SqlRecall(**usual | changes)


def test_same_policy_and_images_are_found_with_their_source(database: Database) -> None:
    job_id, dataset_id = stored_job(database)
    store(database, job_id, suggestion(0, 0.25))
    store(database, job_id, suggestion(1, 0.5), correct=7)

    found = recall_for(database, dataset_id)(suggestion(4, 0.5), 0)

    assert found is not None
    assert found.measurement.correct == 7
    assert found.source == f"job {job_id}, trial 1"


def test_effort_is_counted_anew_and_only_for_images_not_counted_yet(database: Database) -> None:
    job_id, dataset_id = stored_job(database)
    store(database, job_id, suggestion(0), evaluations=0.7)  # the rest of a subset
    recall = recall_for(database, dataset_id)

    efforts = [recall(suggestion(0), first).measurement.evaluations for first in (0, 4)]  # type: ignore[union-attr]

    assert efforts == pytest.approx([1.0, 0.6])


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": {"graph": "sha256:g", "weights": "sha256:other"}},
        {"fingerprint": None},
        {"recipe": Recipe(repair="none")},
        {"dataset_id": "dat_other"},
    ],
)
def test_another_network_data_or_recipe_finds_nothing(
    database: Database, changes: dict[str, Any]
) -> None:
    job_id, dataset_id = stored_job(database)
    store(database, job_id, suggestion(0))

    assert recall_for(database, dataset_id)(suggestion(0), 0) is not None
    other = recall_for(database, **{"dataset_id": dataset_id, **changes})
    assert other(suggestion(0), 0) is None


def test_a_job_does_not_find_itself(database: Database) -> None:
    job_id, dataset_id = stored_job(database)
    store(database, job_id, suggestion(0))

    assert recall_for(database, dataset_id, job_id=job_id)(suggestion(0), 0) is None


def test_other_images_and_other_policies_are_not_taken(database: Database) -> None:
    job_id, dataset_id = stored_job(database)
    probe = replace(suggestion(0), role="probe", images=4)
    store(database, job_id, probe, total=4, correct=2, fidelity="subset")
    recall = recall_for(database, dataset_id)

    assert recall(probe, 0) is not None
    assert recall(replace(probe, images=5), 0) is None
    assert recall(replace(probe, images=None), 0) is None
    assert recall(suggestion(0, 0.75), 0) is None


def test_more_images_than_there_are_mean_all_of_them(database: Database) -> None:
    job_id, dataset_id = stored_job(database)
    store(database, job_id, suggestion(0))

    assert recall_for(database, dataset_id)(replace(suggestion(0), images=500), 0) is not None


def test_running_and_failed_trials_answer_nothing(database: Database) -> None:
    job_id, dataset_id = stored_job(database)
    trials = SqlTrialStore(database, job_id)
    trials.asked(suggestion(0, 0.25))
    trials.asked(suggestion(1, 0.5))
    trials.told(suggestion(1, 0.5).failed("the process died"))
    recall = recall_for(database, dataset_id)

    assert recall(suggestion(0, 0.25), 0) is None
    assert recall(suggestion(0, 0.5), 0) is None
