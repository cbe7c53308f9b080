import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from automl_compress.core.errors import InvalidInput, StorageFailed, WrongState
from automl_compress.store import Database, JobRow, events, jobs, schema
from automl_compress.store.tables import Table


def test_migrations_make_the_tables_that_the_code_declares(database: Database) -> None:
    with database.engine.connect() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)

        assert compare_metadata(context, Table.metadata) == []


def test_every_revision_can_be_upgraded(database_url: str) -> None:
    for revision in schema.known_revisions():
        database = Database(database_url)
        with database.engine.begin() as connection:
            Table.metadata.drop_all(connection)
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {schema.VERSION_TABLE}"))
        with database.engine.begin() as connection:
            schema.upgrade(connection, revision)

        database.upgrade()

        database.check()
        database.close()


def test_jobs_and_policies_of_before_say_what_they_are(database_url: str) -> None:
    """Inserted as version 0006 had them: no kinds, and policies of nobody."""
    job = {"created_at": "2026-01-01", "dataset_id": "dat", "spec": "{}", "tags": "{}"}
    job |= {"state": "succeeded", "desired_state": "run", "attempt": 1, "trials_done": 0}
    job |= {"evaluations": 0, "elapsed_seconds": 0, "event_count": 0, "history_length": 0}
    rows: list[tuple[str, dict[str, object]]] = [
        ("model", {"id": "mdl", "name": "n", "source": "{}", "details": "{}"}),
        ("dataset", {"id": "dat", "name": "n", "source": "{}", "details": "{}"}),
        ("job", {"id": "search", "name": "s", "model_id": "mdl", "account": "anna", **job}),
        ("job", {"id": "scored", "name": "e", "model_id": "mdl", "policy_id": "pol", **job}),
        ("policy", {"id": "pol", "job_id": "search", "document": '{"digest": "sha256:d"}'}),
    ]
    database = Database(database_url)
    with database.engine.begin() as connection:
        schema.upgrade(connection, "0006")
        for table, told in rows:
            told = {"created_at": "2026-01-01", **told}
            names, values = ", ".join(told), ", ".join(f":{name}" for name in told)
            statement = sa.text(f"INSERT INTO compress_{table} ({names}) VALUES ({values})")
            connection.execute(statement, told)

    database.upgrade()

    with database.engine.connect() as connection:
        kinds = connection.execute(sa.text("SELECT id, kind FROM compress_job")).all()
        query = sa.text("SELECT account, model_id, digest FROM compress_policy")
        (policy,) = connection.execute(query).all()
    assert dict(map(tuple, kinds)) == {"search": "search", "scored": "evaluation"}
    assert tuple(policy) == ("anna", "mdl", "sha256:d")
    database.close()


def test_processes_that_upgrade_at_once_do_not_meet(database_url: str) -> None:
    errors: list[Exception] = []

    def upgrade() -> None:
        database = Database(database_url)
        try:
            database.upgrade()
        except Exception as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


def test_database_without_tables_is_refused(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(WrongState, match="no tables yet"):
        database.check()
    database.close()


def test_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))

    for call in (database.check, database.upgrade):
        with pytest.raises(WrongState, match="does not know"):
            call()


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "not a url", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="give sqlite:///"):
        Database(url)


def test_failed_block_stores_nothing(database: Database, job: JobRow) -> None:
    def fail() -> None:
        with database.session() as session:
            events.append(session, job.id, "log", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    with database.reading() as session:
        assert len(events.page(session, job.id).rows) == 1


def test_number_that_json_does_not_have_is_refused(database: Database, job: JobRow) -> None:
    with pytest.raises(InvalidInput, match="finite"), database.session() as session:
        events.append(session, job.id, "log", {"score": float("nan")})


def test_reader_does_not_wait_for_a_writer(database: Database, job: JobRow) -> None:
    with database.session() as writing:
        jobs.lock(writing, job.id).name = "changed"
        writing.flush()
        with database.reading() as session:
            assert jobs.get(session, job.id).name == "half"


def test_full_database_is_a_storage_failure_and_nothing_is_half_stored(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/small.sqlite")
    database.upgrade()
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    @sa.event.listens_for(database.engine, "connect")
    def limit(connection, _entry) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 8}")

    database.engine.dispose()
    insert = sa.text(
        "INSERT INTO compress_lease (owner, host, beats, renewed_at) "
        "VALUES (hex(randomblob(100)), hex(randomblob(4000)), 0, '2026-01-01')"
    )

    def fill() -> None:
        with database.session() as session:
            for _ in range(50):
                session.execute(insert)

    with pytest.raises(StorageFailed, match="full"):
        fill()
    with database.reading() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM compress_lease")) == 0
    database.close()


def test_directory_that_cannot_be_made_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = Database(f"sqlite:///{tmp_path}/file/database.sqlite")

    with pytest.raises(StorageFailed, match="cannot be made"):
        database.upgrade()


def test_database_that_is_away_is_a_storage_failure() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")

    with pytest.raises(StorageFailed, match="nothing was stored"), database.session() as session:
        session.execute(sa.text("SELECT 1"))


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "picture.sqlite").write_bytes(b"\x89PNG" * 1000)
    database = Database(f"sqlite:///{tmp_path}/picture.sqlite")

    with pytest.raises(StorageFailed, match=r"picture\.sqlite"):
        database.check()
    database.close()
