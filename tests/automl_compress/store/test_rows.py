import threading

import pytest

from automl_compress.core.errors import NotFound, WrongState
from automl_compress.store import (
    Database,
    JobRow,
    WrittenFile,
    artifacts,
    datasets,
    events,
    files,
    leases,
    models,
    policies,
)
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.files import NewFile
from automl_compress.store.ids import new_id

WRITTEN = WrittenFile("files/ab/abc", 10, "a" * 64)


def test_ids_ascend_and_differ() -> None:
    made = [new_id("job") for _ in range(2000)]

    assert made == sorted(set(made))
    assert {len(each) for each in made} == {24}


def test_same_bytes_for_the_same_purpose_give_the_same_file(database: Database) -> None:
    with database.session() as session:
        first = files.add(session, NewFile("model", "a.safetensors", "safetensors"), WRITTEN)
        again = files.add(session, NewFile("model", "b.safetensors", "safetensors"), WRITTEN)
        other = files.add(session, NewFile("dataset", "a.npz", "npz"), WRITTEN)

    assert first.id == again.id != other.id
    with database.reading() as session:
        assert files.get(session, first.id).created_at == first.created_at
        assert [row.id for row in files.page(session).rows] == [other.id, first.id]


def test_models_and_datasets_come_back(database: Database) -> None:
    source = {"kind": "architecture", "name": "resnet20", "config": {}}
    with database.session() as session:
        model = models.add(
            session, name="net", source=source, weights_file_id=None, details={"groups": []}
        )
        data = datasets.add(session, name="digits", source={}, file_id=None, details={})

    with database.reading() as session:
        assert models.get(session, model.id).source == source
        assert [row.id for row in models.page(session).rows] == [model.id]
        assert datasets.get(session, data.id).name == "digits"
        assert [row.id for row in datasets.page(session).rows] == [data.id]


def test_policy_documents_never_change(database: Database, job: JobRow) -> None:
    with database.session() as session:
        row = policies.add(session, {"version": "1.0"}, job_id=job.id, trial_number=3)
        again = policies.add(session, {"version": "1.0"}, job_id=job.id, trial_number=3)
        assert again.id == row.id
        with pytest.raises(WrongState, match="never changes"):
            policies.add(session, {"version": "1.1"}, job_id=job.id, trial_number=3)
        brought = policies.add(session, {"version": "1.0"}, policy_id="pol_mine")

    with database.reading() as session:
        assert [each.id for each in policies.of_job(session, job.id)] == [row.id]
        assert policies.get(session, brought.id).document == {"version": "1.0"}


def test_artifact_of_the_same_name_is_replaced_under_its_id(
    database: Database, job: JobRow
) -> None:
    new = NewArtifact(job.id, "network.safetensors", "network", "application/octet-stream")
    with database.session() as session:
        first = artifacts.put(session, new, WRITTEN)
    with database.session() as session:
        second = artifacts.put(session, new, WrittenFile("artifacts/new", 20, "b" * 64))

    assert first.id == second.id
    with database.reading() as session:
        assert [row.size_bytes for row in artifacts.of_job(session, job.id)] == [20]
        assert artifacts.get(session, first.id).path == "artifacts/new"


@pytest.mark.parametrize("module", [files, models, datasets, policies, artifacts])
def test_unknown_ids_are_not_found(database: Database, module) -> None:
    with database.reading() as session, pytest.raises(NotFound, match="xyz"):
        module.get(session, "xyz")


def test_event_numbers_have_no_gaps_whoever_writes_them(database: Database, job: JobRow) -> None:
    def write() -> None:
        for _ in range(5):
            with database.session() as session:
                events.append(session, job.id, "log", {"text": "x"})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.reading() as session:
        page = events.page(session, job.id, after=1, limit=15)
        rest = events.page(session, job.id, after=16, limit=15)
    assert [row.seq for row in page.rows] == list(range(2, 17))
    assert [row.seq for row in rest.rows] == list(range(17, 22))
    assert (page.has_more, rest.has_more) == (True, False)


def test_lease_beats_until_it_is_taken_over(database: Database) -> None:
    with database.session() as session:
        leases.register(session, "a", "host")
        leases.register(session, "b", "host")
        assert leases.renew(session, "a")
    with database.reading() as session:
        dead = leases.every(session)[0]

    with database.session() as session:
        assert leases.take_over(session, dead, "b")
    with database.session() as session:
        assert not leases.take_over(session, dead, "c"), "one reaper is elected"
        assert not leases.renew(session, "a"), "a reaped worker never comes back"
        leases.remove(session, "b")
    with database.session() as session:
        assert leases.take_over(session, dead, "c"), "its first reaper is gone"


def test_worker_that_beat_again_is_not_taken_over(database: Database) -> None:
    with database.session() as session:
        leases.register(session, "a", "host")
    with database.reading() as session:
        seen = leases.every(session)[0]
    with database.session() as session:
        leases.renew(session, "a")

    with database.session() as session:
        assert not leases.take_over(session, seen, "b")
