"""What is confirmed already, which files a policy has, and trials as a table, on both databases."""

from dataclasses import replace
from typing import Any

from automl_compress.core import StudySpec
from automl_compress.store import (
    Database,
    JobKind,
    JobRow,
    JobState,
    SqlTrialStore,
    artifacts,
    browsing,
    confirmations,
    jobs,
    policies,
    trial_table,
)
from automl_compress.store.artifact_files import WrittenFile
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.confirmations import Confirmed
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.measured import complete, failed, suggestion

STUDY: dict[str, Any] = StudySpec.from_json(
    {"searcher": "random", "budget": {"metric": "macs", "ratio": 0.5}, "effort": {"evaluations": 9}}
).to_json()
TOLD = STUDY["confirmation"]


def searched(database: Database) -> str:
    """A search that confirmed its trial 0; trial 1 is another policy, trial 2 repeats trial 0."""
    new = replace(new_job(database), spec={"study": STUDY})
    with database.session() as session:
        row = jobs.create(session, new)
        own = {"trial_number": 0, "policy_id": "pol_0", "artifacts": ["network.onnx"]}
        row.result = {"policies": [own]}
    store = SqlTrialStore(database, row.id)
    for number, sparsity in enumerate((0.5, 0.25, 0.5)):
        asked = suggestion(number, sparsity)
        store.asked(asked)
        store.told(complete(asked))
    return row.id


def confirmation(database: Database, search_id: str, number: int, **settings: Any) -> JobRow:
    new = new_job(database)
    with database.session() as session:
        trial = browsing.trial(session, search_id, number)
        assert trial is not None
        told = {"trial_number": number, "policy_digest": confirmations.digest_of(trial)}
        spec = {"study": {**STUDY, "confirmation": {**TOLD, **settings}}, "confirmation": told}
        kind = JobKind.CONFIRMATION
        return jobs.create(session, replace(new, kind=kind, search_id=search_id, spec=spec))


def found(database: Database, search_id: str, number: int, **settings: Any) -> Confirmed | None:
    with database.session() as session:
        policies.lock(session, "pol_0")  # of nobody: harmless
        search = jobs.lock(session, search_id)
        trial = browsing.trial(session, search_id, number)
        assert trial is not None
        return confirmations.confirmed_alike(session, search, trial, {**TOLD, **settings})


def test_a_policy_counts_as_confirmed_by_its_settings(database: Database) -> None:
    search = searched(database)

    assert found(database, search, 0) == Confirmed(search, "pol_0")
    assert found(database, search, 2) == Confirmed(search, "pol_0"), "the same policy"
    assert found(database, search, 0, formats=[]) == Confirmed(search, "pol_0")
    assert found(database, search, 0, finetune_epochs=9) is None
    assert found(database, search, 0, distillation_weight=0.5) is None
    assert found(database, search, 0, finetune_scales="learned") is None
    assert found(database, search, 1) is None
    job = confirmation(database, search, 1, finetune_epochs=0)
    assert found(database, search, 1) is None
    assert found(database, search, 1, finetune_epochs=0) == Confirmed(job.id, None)
    assert found(database, search, 1, finetune_epochs=0, distillation_weight=1.0) is not None
    with database.session() as session:
        jobs.move(session, job.id, JobState.FAILED, error={})
    assert found(database, search, 1, finetune_epochs=0) is None
    with database.reading() as session:
        assert [row.id for row in confirmations.of_search(session, search)] == [job.id]


def test_the_files_of_a_policy_are_those_of_its_job_and_of_its_exports(database: Database) -> None:
    search = searched(database)
    written = WrittenFile("artifacts/x", 1, "a" * 64)
    with database.session() as session:
        policy = policies.add(session, {}, job_id=search, trial_number=0, policy_id="pol_0")
        row = jobs.get(session, search)
        export = jobs.NewJob(
            "as pt2", row.model_id, None, {}, {}, kind=JobKind.EXPORT, policy_id=policy.id
        )
        made = jobs.create(session, export)
        told = ((search, "network.onnx"), (search, "network-2.onnx"), (made.id, "network.pt2"))
        for job_id, name in told:
            new_artifact = NewArtifact(job_id, name, name.rpartition(".")[2], "a/b")
            artifacts.put(session, new_artifact, written)

        files = artifacts.of_policy(session, policy)

    assert [each.name for each in files] == ["network.onnx", "network.pt2"]
    assert made.dataset_id is None


def test_trials_are_a_table_without_policies(database: Database, job: JobRow) -> None:
    store = SqlTrialStore(database, job.id)
    for number in range(3):
        store.asked(suggestion(number))
    store.told(complete(suggestion(0)))
    store.told(failed(suggestion(1)))
    with database.reading() as session:
        first = trial_table.rows_behind(session, job.id, -1, 2)
        rest = trial_table.rows_behind(session, job.id, 1, 2)

    rows = [dict(zip(trial_table.COLUMNS, row, strict=True)) for row in (*first, *rest)]
    assert [each["number"] for each in rows] == [0, 1, 2]
    assert [each["macs"] for each in rows] == [1000, None, None]
    assert (rows[0]["accuracy"], rows[1]["failure"]) == (0.5, "the process died")
