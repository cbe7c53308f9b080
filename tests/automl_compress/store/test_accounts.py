"""Sessions of an account, keys, and what is deleted."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from automl_compress.core.errors import InUse, KeyReused, NotFound, WrongState
from automl_compress.store import (
    Database,
    JobState,
    WrittenFile,
    activity,
    artifacts,
    browsing,
    datasets,
    events,
    files,
    jobs,
    keys,
    models,
    policies,
    removal,
    schema,
    trials,
)
from automl_compress.store.accounts import Account
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.files import NewFile
from automl_compress.store.jobs import NewJob
from automl_compress.store.moments import now
from automl_compress.store.once import Request
from automl_compress.store.table import Table
from automl_compress.store.trials import SqlTrialStore
from tests.automl_compress.store.measured import complete, suggestion

ANNA, BERT = Account("anna", sees_all=False), Account("bert", sees_all=False)
WRITTEN = WrittenFile("files/abc.npz", 10, "a" * 64)
NETWORK = WrittenFile("files/def.safetensors", 7, "d" * 64)


def make_job(database: Database, account: Account) -> dict[str, str]:
    """A job of an account with everything that hangs on it; returns the ids."""
    with database.of(account).session() as session:
        file = files.add(session, NewFile("model", "w", "safetensors"), NETWORK)
        model = models.add(
            session, name="net", source={"weights": file.path}, weights_file_id=file.id, details={}
        )
        data = datasets.add(session, name="data", source={}, file_id=None, details={})
        study = {"budget": {"metric": "macs"}, "effort": {"evaluations": 9}}
        new = NewJob("half", model.id, data.id, {"study": study}, {})
        job = jobs.create(session, new)
        policy = policies.add(session, {"of": account.name}, job_id=job.id, trial_number=0)
        written = WrittenFile(f"artifacts/{job.id}/network", 100, "b" * 64)
        artifact = artifacts.put(session, NewArtifact(job.id, "n", "network", "a/b"), written)
    store = SqlTrialStore(database, job.id)
    store.asked(suggestion(0))
    store.told(complete(suggestion(0)))
    with database.reading() as session:
        trial = trials.page(session, job.id).rows[0].id
    return {
        "file": file.id,
        "model": model.id,
        "dataset": data.id,
        "job": job.id,
        "policy": policy.id,
        "artifact": artifact.id,
        "trial": trial,
    }


def test_an_account_sees_nothing_of_another_ones(database: Database) -> None:
    annas, berts = make_job(database, ANNA), make_job(database, BERT)
    places = {
        "file": files,
        "model": models,
        "dataset": datasets,
        "job": jobs,
        "policy": policies,
        "artifact": artifacts,
        "trial": trials,
    }

    with database.of(ANNA).reading() as session:
        for noun, place in places.items():
            assert place.get(session, annas[noun]).id == annas[noun]
            with pytest.raises(NotFound):
                place.get(session, berts[noun])
        with pytest.raises(NotFound):
            jobs.lock(session, berts["job"])
        for page in (files, models, datasets, policies, artifacts):
            assert len(page.page(session).rows) == 1
        assert [row.id for row in browsing.jobs(session).rows] == [annas["job"]]
        assert browsing.jobs(session).rows_in_all == 1
        assert activity.jobs_in_states(session) == {JobState.QUEUED: 1}
        assert trials.page(session, berts["job"]).rows == []
        assert events.page(session, berts["job"]).rows == []
        assert browsing.front(session, berts["job"], "macs") == []
    with database.reading() as session:
        assert browsing.jobs(session).rows_in_all == 2


def test_an_administrator_sees_everything_and_makes_its_own(database: Database) -> None:
    made = make_job(database, ANNA)

    with database.of(Account("boss")).session() as session:
        assert jobs.get(session, made["job"]).account == "anna"
        own = files.add(session, NewFile("model", "w", "safetensors"), NETWORK)
        assert (own.account, own.id != made["file"]) == ("boss", True)
        assert files.stored_bytes(session) == 7
        assert artifacts.stored_bytes(session, "anna") == 100


def test_a_request_makes_one_row_however_often_it_comes(database: Database) -> None:
    def make(account: Account, key: str | None, digest: str) -> str:
        with database.of(account).session() as session:
            told = {"name": "n", "source": {}, "weights_file_id": None, "details": {}}
            return models.add(session, **told, request=Request(key, digest)).id

    first = make(ANNA, "k", "a")

    assert make(ANNA, "k", "a") == first
    assert make(BERT, "k", "other") != first, "accounts choose their keys for themselves"
    assert make(ANNA, None, "a") != first
    with pytest.raises(KeyReused, match="'k'"):
        make(ANNA, "k", "b")


def test_a_key_is_found_by_its_secret_until_it_is_revoked(database: Database) -> None:
    with database.session() as session:
        key = keys.add(session, "amc_secret", account="anna", scope="read", name="laptop")
        keys.sign_in(session, "cookie", now() + timedelta(hours=1), key_id=key.id, proof=None)
        keys.sign_in(session, "old", now() - timedelta(hours=1), key_id=key.id, proof=None)

    with database.session() as session:
        found = keys.with_secret(session, "amc_secret")
        assert found is not None
        assert found.id == key.id
        assert keys.with_secret(session, "amc_Secret") is None
        assert keys.signed_in(session, "cookie") is not None
        assert keys.signed_in(session, "old") is None
        assert "secret" not in str(found.__dict__)
        keys.revoke(session, key.id)
    with database.session() as session:
        assert keys.with_secret(session, "amc_secret") is None
        assert keys.signed_in(session, "cookie") is None
        assert keys.revoke(session, key.id).revoked_at is not None, "repeating is harmless"


def test_what_something_is_made_of_stays(database: Database) -> None:
    made = make_job(database, ANNA)

    with database.of(ANNA).session() as session:
        with pytest.raises(InUse, match="model is made of"):
            removal.remove_file(session, made["file"])
        with pytest.raises(InUse, match="there are jobs on"):
            removal.remove_model(session, made["model"])
        with pytest.raises(InUse, match="there are jobs on"):
            removal.remove_dataset(session, made["dataset"])
        with pytest.raises(WrongState, match="cancel it"):
            removal.remove_job(session, made["job"])
        jobs.cancel(session, made["job"])

    with database.of(BERT).session() as session, pytest.raises(NotFound):
        removal.remove_job(session, made["job"])
    with database.of(ANNA).session() as session:
        assert removal.remove_job(session, made["job"]) == [f"artifacts/{made['job']}/network"]
        removal.remove_model(session, made["model"])
        removal.remove_dataset(session, made["dataset"])
        assert removal.remove_file(session, made["file"]) == (NETWORK.path,)
    with database.reading() as session:
        left = [
            session.scalar(sa.select(sa.func.count()).select_from(table))
            for table in Table.metadata.sorted_tables
        ]
    assert set(left) == {0}, "nothing of the job is left behind"


def test_bytes_stay_for_another_accounts_upload_of_them(database: Database) -> None:
    with database.of(ANNA).session() as session:
        annas = files.add(session, NewFile("dataset", "a", "npz"), WRITTEN)
    with database.of(BERT).session() as session:
        berts = files.add(session, NewFile("dataset", "b", "npz"), WRITTEN)
        datasets.add(
            session, name="d", source={"location": [WRITTEN.path]}, file_id=berts.id, details={}
        )

    with database.of(ANNA).session() as session:
        assert removal.remove_file(session, annas.id) == ()
    with database.of(BERT).session() as session, pytest.raises(InUse):
        removal.remove_file(session, berts.id)


def test_what_was_stored_before_there_were_accounts_is_the_operators(database_url: str) -> None:
    database = Database(database_url)
    with database.engine.begin() as connection:
        schema.upgrade(connection, "0004")
        for statement in (
            "INSERT INTO compress_file VALUES"
            " ('fil_1', 'model', 'w', 'safetensors', 7, 'd', 'files/d', '2026-01-01')",
            "INSERT INTO compress_model (id, name, source, weights_file_id, details, created_at)"
            " VALUES ('mdl_1', 'net', '{}', 'fil_1', '{}', '2026-01-01')",
        ):
            connection.exec_driver_sql(statement)

    database.upgrade()

    with database.session() as session:
        assert models.get(session, "mdl_1").account == ""
        assert files.get(session, "fil_1").name == "w"
        files.add(session, NewFile("model", "again", "safetensors"), WrittenFile("x", 7, "d"))
    with database.engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.exec_driver_sql("DELETE FROM compress_file")
    database.close()


def test_a_brought_policy_belongs_to_who_brought_it(database: Database) -> None:
    annas = make_job(database, ANNA)
    document = {"digest": "sha256:d", "provenance": {}}
    with database.of(ANNA).session() as session:
        brought = policies.bring(session, annas["model"], document)
        again = policies.bring(session, annas["model"], document, annas["file"])
    with database.of(BERT).session() as session:
        other = policies.bring(session, annas["model"], document)

    assert brought.id == again.id
    assert again.weights_file_id == annas["file"]
    assert other.id != brought.id
    with database.of(BERT).reading() as session:
        assert [each.id for each in policies.page(session).rows] == [other.id]
        with pytest.raises(NotFound):
            policies.get(session, brought.id)
    with database.reading() as session:
        found = policies.get(session, annas["policy"])
    assert (found.account, found.model_id) == ("anna", annas["model"])
