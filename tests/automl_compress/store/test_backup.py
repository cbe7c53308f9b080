"""A backup keeps every row and file; what is none, or not a whole one, changes nothing."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DBAPIError

from automl_compress.core.errors import InvalidInput, StorageFailed, WrongState
from automl_compress.store import Database, JobRow, consistency, jobs, schema
from automl_compress.store.backup import backup, restore
from automl_compress.store.backup_archive import (
    DIGESTS,
    FILES,
    TABLES,
    BackupWriter,
    digest_of,
)
from automl_compress.store.table import Table
from tests.automl_compress.store.databases import fresh_database, opened

ROOT = Path(__file__).resolve().parents[3]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POLICY = "artifacts/policy.json"  # of the fixture `finished`


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database to restore into, in which nothing is yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/other/database.sqlite"
        return
    with fresh_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture
def other(other_url: str) -> Iterator[Database]:
    with closing(Database(other_url)) as database:
        yield database


@pytest.fixture
def source(database: Database, finished: str, tmp_path: Path) -> Path:
    """A backup of a service with a job that succeeded, and a larger file of no row."""
    (tmp_path / "data" / "samples").mkdir()
    (tmp_path / "data" / "samples" / "large").write_bytes(bytes(2_000_000))
    backup(database, tmp_path / "data", tmp_path / "service.backup")
    return tmp_path / "service.backup"


def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.reading() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=str)
            for table in Table.metadata.sorted_tables
        }


def content(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: the bytes of files, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if ".sqlite" not in path.name
    }


def table_names(database: Database) -> list[str]:
    """The tables of a database, and none where there is no file: nothing is made by asking."""
    if database.is_sqlite and not Path(database.engine.url.database or "").exists():
        return []
    with database.engine.connect() as connection:
        return inspect(connection).get_table_names()


def test_a_restored_service_has_every_row_and_file(
    database: Database, other: Database, source: Path, tmp_path: Path
) -> None:
    restore(source, other, tmp_path / "restored")

    assert source.stat().st_mode & 0o077 == 0, "it holds digests of keys"
    assert rows(other) == rows(database)
    files = content(tmp_path / "restored")
    assert files.pop("partial") is None
    assert files == {
        name: each for name, each in content(tmp_path / "data").items() if name != "partial"
    }
    with other.reading() as session:
        assert consistency.violations(session, tmp_path / "restored") == []
    with pytest.raises(WrongState, match="restore into an empty one"):
        restore(source, other, tmp_path / "restored")


@on_sqlite
def test_a_job_that_was_running_belongs_to_nobody_after_a_restore(
    database: Database, job: JobRow, tmp_path: Path
) -> None:
    with database.session() as session:
        jobs.claim(session, job.id, 1, "worker/execution")
    backup(database, tmp_path / "data", tmp_path / "service.backup")

    with opened(f"sqlite:///{tmp_path}/other/database.sqlite") as other:
        restore(tmp_path / "service.backup", other, tmp_path / "restored")
        with other.session() as session:
            assert jobs.claim(session, job.id, 1, "other/execution").deaths == 0


@on_sqlite
def test_an_empty_database_of_an_older_version_is_filled(
    other_url: str, source: Path, tmp_path: Path
) -> None:
    with closing(Database(other_url)) as other:
        if other.is_sqlite:
            (tmp_path / "other").mkdir()
        with other.engine.begin() as connection:
            schema.upgrade(connection, schema.known_revisions()[0])

        restore(source, other, tmp_path / "restored")

        other.check()
        assert len(rows(other)["compress_job"]) == 1


def cut(share: float) -> Callable[[Path], None]:
    def cut_to_share(source: Path) -> None:
        whole = source.read_bytes()
        source.write_bytes(whole[: int(len(whole) * share)])

    return cut_to_share


def cut_between_files(source: Path) -> None:
    """As it is cut where another file would begin: no reader of archives minds."""
    with tarfile.open(source) as archive:
        place = archive.getmember(DIGESTS).offset
    source.write_bytes(source.read_bytes()[:place])
    with tarfile.open(source) as archive:
        assert f"{FILES}{POLICY}" in archive.getnames()


def without_a_file(source: Path) -> None:
    written_anew(source, lambda name, content: None if name == f"{FILES}{POLICY}" else content)


def with_other_bytes(source: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"content", b"CONTENT") if name == f"{FILES}{POLICY}" else content

    written_anew(source, change)


def written_anew(source: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """The same archive, with the same list of digests, and other members."""
    members: dict[str, bytes] = {}
    with tarfile.open(source) as archive:
        for member in archive:
            read = archive.extractfile(member)
            assert read is not None
            changed = change(member.name, read.read())
            if changed is not None:
                members[member.name] = changed
    write_archive(source, members)


def write_archive(target: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(target, "w") as archive:
        for name, each in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(each)
            archive.addfile(member, io.BytesIO(each))


def text_file(source: Path) -> None:
    source.write_text("no archive")


def another_archive(source: Path) -> None:
    write_archive(source, {TABLES: b"SQLite format 3", "files/a": b"a"})


def tables_that_are_none(source: Path) -> None:
    digests = {TABLES: digest_of(iter([b"no tables"]))}
    write_archive(source, {TABLES: b"no tables", DIGESTS: json.dumps(digests).encode()})


def tables_of_others(source: Path) -> None:
    with closing(Database(f"sqlite:///{source}.sqlite")) as foreign, foreign.session() as session:
        session.execute(text("CREATE TABLE compress_job (id INTEGER)"))
    with_tables(source, Path(f"{source}.sqlite"))


def with_tables(source: Path, tables: Path) -> None:
    with source.open("wb") as stream:
        archive = BackupWriter(stream)
        archive.add(TABLES, tables)
        archive.close()


def a_file_that_leads_out(source: Path) -> None:
    digests = {TABLES: digest_of(iter([b""])), f"{FILES}../out": digest_of(iter([b"a"]))}
    listed = json.dumps(digests).encode()
    write_archive(source, {TABLES: b"", f"{FILES}../out": b"a", DIGESTS: listed})


BROKEN = {
    "empty": (cut(0), "is no backup"),
    "cut within the tables": (cut(0.02), "is no backup"),
    "cut within a file": (cut(0.9), "is no backup"),
    "cut between files": (cut_between_files, "so it is another archive, or cut short"),
    "a file less": (without_a_file, f"{POLICY} is missing"),
    "other bytes": (with_other_bytes, f"{POLICY} has other bytes"),
    "a text": (text_file, "is no backup"),
    "another archive": (another_archive, "so it is another archive"),
    "tables that are none": (tables_that_are_none, "its tables cannot be read"),
    "tables of others": (tables_of_others, "its tables are not of this project"),
    "a file that leads out": (a_file_that_leads_out, "is no backup"),
}


@on_sqlite
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_backup_is_refused_and_changes_nothing(
    other: Database, source: Path, tmp_path: Path, name: str
) -> None:
    break_it, said = BROKEN[name]
    break_it(source)
    before = content(tmp_path)

    with pytest.raises(InvalidInput, match=said):
        restore(source, other, tmp_path / "restored")

    assert table_names(other) == []
    assert content(tmp_path) == before


@on_sqlite
def test_a_backup_of_a_newer_version_is_refused_and_changes_nothing(
    other: Database, source: Path, tmp_path: Path
) -> None:
    with opened(f"sqlite:///{tmp_path}/newer.sqlite") as newer, newer.session() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    with_tables(source, tmp_path / "newer.sqlite")
    before = content(tmp_path)

    with pytest.raises(WrongState, match=r"a newer version made the backup .* at revision 9999"):
        restore(source, other, tmp_path / "restored")

    assert table_names(other) == []
    assert content(tmp_path) == before


@on_sqlite
def test_a_database_of_a_newer_version_is_refused_and_stays(
    other: Database, source: Path, tmp_path: Path
) -> None:
    other.upgrade()
    with other.session() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))

    with pytest.raises(WrongState, match="the database is at revision 9999"):
        restore(source, other, tmp_path / "restored")

    assert not (tmp_path / "restored").exists()


@on_sqlite
@pytest.mark.parametrize("path", ["files/of-another-service.npz", POLICY])
def test_a_data_directory_with_other_files_is_refused_and_stays(
    other: Database, source: Path, tmp_path: Path, path: str
) -> None:
    lying = tmp_path / "restored" / path
    lying.parent.mkdir(parents=True)
    lying.write_bytes(b"of another")
    before = content(tmp_path)

    with pytest.raises(WrongState, match=f"holds {path}, and the backup holds no such file"):
        restore(source, other, tmp_path / "restored")

    assert table_names(other) == []
    assert content(tmp_path) == before


@on_sqlite
def test_files_that_lie_there_already_are_kept(
    other: Database, source: Path, tmp_path: Path
) -> None:
    """As after a restore that was killed, or where a service moves to another database."""
    lying = tmp_path / "restored" / POLICY
    lying.parent.mkdir(parents=True)
    lying.write_bytes(b"content")
    written = lying.stat().st_ino

    restore(source, other, tmp_path / "restored")

    assert lying.stat().st_ino == written
    with other.reading() as session:
        assert consistency.violations(session, tmp_path / "restored") == []


@on_sqlite
def test_where_the_database_takes_nothing_the_files_are_taken_back(
    other: Database, source: Path, tmp_path: Path
) -> None:
    if other.is_sqlite:
        (tmp_path / "other").mkdir()
    with other.engine.begin() as connection:  # in the way of the table of this name
        connection.execute(text("CREATE TABLE compress_trial (id INTEGER)"))
    lying = tmp_path / "restored" / POLICY
    lying.parent.mkdir(parents=True)
    lying.write_bytes(b"content")
    before = content(tmp_path)

    with pytest.raises((StorageFailed, DBAPIError), match="compress_trial"):
        restore(source, other, tmp_path / "restored")

    assert table_names(other) == ["compress_trial"]
    assert content(tmp_path) == before


# A disk that takes files of 1 MB: the tables, and not the larger file.
PROGRAM = """
import resource, sys
from pathlib import Path
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database
from automl_compress.store.backup import restore

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    restore(Path(sys.argv[1]), Database(sys.argv[2]), Path(sys.argv[3]))
except StorageFailed as error:
    print(error)
"""


@on_sqlite
def test_where_the_disk_takes_no_more_nothing_is_left(
    other: Database, source: Path, tmp_path: Path
) -> None:
    before = content(tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, source, other.url, tmp_path / "restored"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert "could not be written (File too large)" in done.stdout
    assert table_names(other) == []
    assert content(tmp_path) == before
