"""A backup in one file: the tables, as an SQLite file, and what lies in the data directory.

It can be made while workers go on, and be restored into either kind of database: so a service
also moves from SQLite to PostgreSQL. The queue's own tables are left out; workers queue what is
unfinished again.
"""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, insert, select, text, update

from automl_compress.core.errors import InvalidInput, StorageFailed, WrongState
from automl_compress.store.artifact_files import PARTIAL_DIRECTORY
from automl_compress.store.database import Database
from automl_compress.store.table import Table
from automl_compress.store.tables import JobRow, LeaseRow
from automl_compress.whole_files import PRIVATE, unnamed_file

TABLES, FILES = "tables.sqlite", "files"  # names within the archive
ROWS_AT_ONCE = 1000
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
            with (
                unnamed_file(target.absolute().parent, PRIVATE) as unnamed,
                tarfile.open(fileobj=unnamed.stream, mode="w") as archive,
            ):
                archive.add(tables, TABLES)
                for path in _files(data_dir):
                    archive.add(path, f"{FILES}/{path.relative_to(data_dir).as_posix()}")
                archive.close()
                unnamed.keep(target.absolute())
        except OSError as error:
            raise StorageFailed(
                f"the backup {target} was not written ({error.strerror or error}); make room, or "
                "choose another place"
            ) from error


def restore(source: Path, database: Database, data_dir: Path) -> None:
    """Fill an empty service from a backup; jobs that had not ended go on.

    Raises:
        InvalidInput: the file is no backup.
        WrongState: the database has rows already, or a newer version made the backup.
        StorageFailed: the database is gone, or the disk did not take the files.
    """
    database.upgrade()
    _refuse_rows(database)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(source) as archive:
                _extract(archive, Path(folder), data_dir)
        except tarfile.TarError as error:
            raise InvalidInput(
                f"{source} is no backup ({error}); give a file that `db backup` wrote"
            ) from error
        except OSError as error:
            raise StorageFailed(
                f"the backup {source} was not restored ({error.strerror or error})"
            ) from error
        with closing(Database(f"sqlite:///{folder}/{TABLES}")) as copy:
            copy.upgrade()  # an older version may have written it
            _copy_tables(copy, database)
    with database.session() as session:
        # Nobody works on anything; the next worker to take a job must count no death.
        session.execute(update(JobRow).values(owner=None))


def _extract(archive: tarfile.TarFile, folder: Path, data_dir: Path) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    for member in archive:
        if member.name == TABLES:
            archive.extract(member, folder, filter="data")
        elif member.name.startswith(f"{FILES}/"):
            member.name = member.name.removeprefix(f"{FILES}/")
            archive.extract(member, data_dir, filter="data")
    if not (folder / TABLES).exists():
        raise InvalidInput(f"{archive.name} holds no {TABLES}; give what `db backup` wrote")


def _refuse_rows(database: Database) -> None:
    with database.reading() as session:
        for table in Table.metadata.sorted_tables:
            if table.name != LeaseRow.__tablename__ and session.scalar(
                select(func.count()).select_from(table)
            ):
                raise WrongState(
                    f"the database has rows already ({table.name}); restore into an empty one, "
                    "so that nothing is overwritten"
                )


def _copy_tables(source: Database, target: Database) -> None:
    target.upgrade()
    with source.reading() as reader, target.session() as writer:
        if not source.is_sqlite:
            reader.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in Table.metadata.sorted_tables:
            if table.name == LeaseRow.__tablename__:  # those workers are not here
                continue
            rows = reader.execute(select(table), execution_options={"yield_per": ROWS_AT_ONCE})
            for part in rows.mappings().partitions():
                writer.execute(insert(table), [dict(row) for row in part])


def _files(data_dir: Path) -> Iterator[Path]:
    for path in sorted(data_dir.rglob("*")):
        is_partial = path.relative_to(data_dir).parts[0] == PARTIAL_DIRECTORY
        if path.is_file() and not is_partial and not path.name.endswith(SQLITE_SUFFIXES):
            yield path
