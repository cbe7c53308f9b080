"""Which earlier measurement of an uncut network a job may repeat."""

from dataclasses import replace
from typing import Any

import pytest

from automl_compress.store import Database, JobState, jobs
from automl_compress.store.baselines import confirmed_before
from tests.automl_compress.store.conftest import new_job

FINGERPRINT = {"graph": "sha256:g", "weights": "sha256:w"}
TUNING = {"epochs": 3, "learning_rate": 0.01, "seed": 0}


def finished(
    database: Database,
    fingerprint: dict[str, str] = FINGERPRINT,
    tuning: dict[str, Any] | None = TUNING,
    state: JobState = JobState.SUCCEEDED,
    **changes: str,
) -> tuple[str, str]:
    new = replace(new_job(database, **changes), spec={"model": {"fingerprint": fingerprint}})
    with database.session() as session:
        row = jobs.create(session, new)
        told = {} if tuning is None else {"tuning": tuning}
        row.state, row.result = state, {"baseline": {"correct": 390}, **told}
        return row.id, row.dataset_id


def find(database: Database, dataset_id: str) -> tuple[str, dict[str, Any]] | None:
    with database.reading() as session:
        return confirmed_before(session, dataset_id, FINGERPRINT, TUNING)


def test_the_same_network_tuned_alike_on_the_same_data_is_found(database: Database) -> None:
    job_id, dataset_id = finished(database)
    finished(database, dataset_id=dataset_id)

    assert find(database, dataset_id) == (job_id, {"test": {"correct": 390}, "search": None})


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": {**FINGERPRINT, "weights": "sha256:others"}},
        {"fingerprint": {**FINGERPRINT, "graph": "sha256:others"}},
        {"tuning": {**TUNING, "epochs": 1}},
        {"tuning": {**TUNING, "seed": 1}},
        {"tuning": None},
        {"state": JobState.FAILED},
    ],
)
def test_anything_else_is_not(database: Database, other: dict[str, Any]) -> None:
    _, dataset_id = finished(database, **other)
    finished(database)  # on other data

    assert find(database, dataset_id) is None
