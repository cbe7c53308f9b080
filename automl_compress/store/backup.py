"""A backup in one file: the tables, as an SQLite file, and what lies in the data directory.

It can be made while workers go on, and be restored into either kind of database: so a service
also moves from SQLite to PostgreSQL. The queue's own tables are left out; workers queue what is
unfinished again.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from sqlalchemy import Connection, func, insert, inspect, select, text, update

from automl_compress.core.errors import InvalidInput, StorageFailed, WrongState
from automl_compress.store import schema
from automl_compress.store.artifact_files import PARTIAL_DIRECTORY, ArtifactFiles
from automl_compress.store.backup_archive import (
    FILES,
    TABLES,
    BackupArchive,
    BackupWriter,
    digest_of,
    opened_backup,
)
from automl_compress.store.database import Database
from automl_compress.store.table import Table
from automl_compress.store.tables import JobRow, LeaseRow
from automl_compress.whole_files import PRIVATE, unnamed_file

ROWS_AT_ONCE = 1000
CHUNK_BYTES = 1 << 20
SQLITE_SUFFIXES = (".sqlite", ".sqlite-wal", ".sqlite-shm")


def backup(database: Database, data_dir: Path, target: Path) -> None:
    """Write the tables and the files into `target`, which only its owner may read.

    Files are taken after the tables, so that every file that a row names is there, unless it
    was deleted meanwhile.

    Raises:
        WrongState: the tables are not of this version.
        StorageFailed: the database is gone, or the disk did not take the file.
    """
    database.check()
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / TABLES
        with closing(Database(f"sqlite:///{tables}")) as copy:
            _copy_tables(database, copy)
        try:
            with unnamed_file(target.absolute().parent, PRIVATE) as unnamed:
                archive = BackupWriter(unnamed.stream)
                archive.add(TABLES, tables)
                for path in _files(data_dir):
                    archive.add(f"{FILES}{_relative(path, data_dir)}", path)
                archive.close()
                unnamed.keep(target.absolute())
        except OSError as error:
            raise StorageFailed(
                f"the backup {target} was not written ({error.strerror or error}); make room, or "
                "choose another place"
            ) from error


def restore(source: Path, database: Database, data_dir: Path) -> None:
    """Fill an empty service from a backup; jobs that had not ended go on.

    Nothing is changed before all of the backup was read and found whole; what was placed is taken
    back where the rest fails. Files that lie there already with the same bytes are kept, so that a
    restore that was killed can be repeated.

    Raises:
        InvalidInput: the file is no backup, was cut short, or was damaged.
        WrongState: the database has rows already, the data directory other files, or a newer
            version made one of them.
        StorageFailed: the database is gone, or the disk did not take the files.
    """
    _refuse_used(database)
    with opened_backup(source) as archive, tempfile.TemporaryDirectory() as folder:
        archive.extract_tables(Path(folder) / TABLES)
        with closing(Database(f"sqlite:///{folder}/{TABLES}")) as tables, ExitStack() as undo:
            _upgrade(tables, source)
            _refuse_other_files(archive, data_dir)
            _place(archive, data_dir, undo)
            _copy_tables(tables, database)
            undo.pop_all()


def _refuse_used(database: Database) -> None:
    """Refuse a database with rows, without making anything where there is none."""
    if database.is_sqlite and not Path(database.engine.url.database or "").exists():
        return
    with database.reading() as session:
        schema.refuse_newer(session.connection())
        _refuse_rows(session.connection())


def _refuse_rows(connection: Connection) -> None:
    names = set(inspect(connection).get_table_names())
    for table in Table.metadata.sorted_tables:
        if table.name in names - {LeaseRow.__tablename__} and connection.scalar(
            select(func.count()).select_from(table)
        ):
            raise WrongState(
                f"the database has rows already ({table.name}); restore into an empty one, "
                "so that nothing is overwritten"
            )


def _upgrade(tables: Database, source: Path) -> None:
    """Bring the tables of a backup, which an older version may have made, to this version."""
    try:
        with tables.reading() as session:
            found = schema.current_revision(session.connection())
    except StorageFailed as error:
        raise InvalidInput(f"{source} is no backup: its tables cannot be read ({error})") from error
    if found is None:
        raise InvalidInput(f"{source} is no backup: its tables are not of this project")
    try:
        tables.upgrade()
    except WrongState as error:
        raise WrongState(
            f"a newer version made the backup {source}: {error}. Nothing was changed"
        ) from error


def _refuse_other_files(archive: BackupArchive, data_dir: Path) -> None:
    for path in _files(data_dir):
        name = _relative(path, data_dir)
        if name not in archive.files or archive.files[name] != _digest(path):
            raise WrongState(
                f"the data directory {data_dir} holds {name}, and the backup holds no such file, "
                "or one with other bytes; restore into an empty directory, so that nothing is "
                "mixed or overwritten"
            )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return digest_of(iter(lambda: file.read(CHUNK_BYTES), b""))
    except OSError as error:
        raise StorageFailed(
            f"{path} lies there and cannot be read ({error.strerror}); restore into an empty data "
            "directory"
        ) from error


def _place(archive: BackupArchive, data_dir: Path, undo: ExitStack) -> None:
    files = ArtifactFiles(data_dir)
    _make_folder(data_dir / PARTIAL_DIRECTORY, undo)
    for name in archive.files:
        target = files.path_of(name)
        if not target.is_file():
            _make_folder(target.parent, undo)
            files.write(name, archive.chunks(name))
            undo.callback(files.remove, name)


def _make_folder(folder: Path, undo: ExitStack) -> None:
    absolute = folder.absolute()
    for each in (*reversed(absolute.parents), absolute):
        if not each.exists():
            with suppress(OSError):  # who writes into it says why it cannot
                each.mkdir()
                undo.callback(_remove_folder, each)


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # somebody else has put something there
        folder.rmdir()


def _copy_tables(source: Database, target: Database) -> None:
    """Make the tables and fill them, in one transaction."""
    with source.reading() as reader, target.upgraded() as writer:
        _refuse_rows(writer)
        if not source.is_sqlite:
            reader.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in Table.metadata.sorted_tables:
            if table.name == LeaseRow.__tablename__:  # those workers are not here
                continue
            rows = reader.execute(select(table), execution_options={"yield_per": ROWS_AT_ONCE})
            for part in rows.mappings().partitions():
                writer.execute(insert(table), [dict(row) for row in part])
        # Nobody works on anything; the next worker to take a job must count no death.
        writer.execute(update(JobRow).values(owner=None))


def _relative(path: Path, data_dir: Path) -> str:
    return path.relative_to(data_dir).as_posix()


def _files(data_dir: Path) -> Iterator[Path]:
    for path in sorted(data_dir.rglob("*")):
        is_partial = path.relative_to(data_dir).parts[0] == PARTIAL_DIRECTORY
        if path.is_file() and not is_partial and not path.name.endswith(SQLITE_SUFFIXES):
            yield path
