"""One database: SQLite embedded, PostgreSQL in production; the same code runs on both."""

import json
import logging
import random
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from automl_compress.core.errors import (
    AutomlCompressError,
    DatabaseAway,
    InvalidInput,
    StorageFailed,
)
from automl_compress.store import schema
from automl_compress.store.accounts import OPERATOR, Account, AccountSession, session_info
from automl_compress.store.outages import is_away, is_storage_failure

BUSY_TIMEOUT_MS = 30_000
BEGIN_PAUSE_SECONDS = (0.001, 0.005)  # between two tries to begin on SQLite
# A process that stops within a transaction, as on a suspended machine, must not lock out others.
POSTGRES_OPTIONS = "-c idle_in_transaction_session_timeout=15s -c lock_timeout=30s"
# A request must not wait long for a server that was switched off, or cut off.
POSTGRES_PATIENCE = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 10}
POOL_SECONDS = 10.0
READING = "compress_reading"  # execution option of connections that will not write
logger = logging.getLogger(__name__)


class Database:
    """The tables of one service.

    A transaction is one `with` block; repositories take its session and never commit:

        with database.session() as session:
            jobs.move(session, job_id, JobState.RUNNING)
    """

    def __init__(self, url: str) -> None:
        """Prepare the engine; nothing is opened yet.

        Args:
            url: `sqlite:///path/to/file` or `postgresql+psycopg://user@host/name`;
                `postgresql://` means the latter.

        Raises:
            InvalidInput: the URL names neither.
        """
        self.engine = create_database_engine(url)
        self.url = self.engine.url.render_as_string(hide_password=False)
        self._account = OPERATOR

    def of(self, account: Account) -> "Database":
        """Return the same database as an account sees it: sessions have its rows alone."""
        seen = copy(self)
        seen._account = account
        return seen

    def _open(self, bind: Engine | Connection) -> AccountSession:
        # No sessionmaker: each makes a class, and here there is an account with every request.
        return AccountSession(bind, expire_on_commit=False, info=session_info(self._account))

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of ours."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def session(self) -> Generator[Session]:
        """Open a transaction; it is committed at the end of the block, or rolled back.

        Raises:
            StorageFailed: the database is gone, locked, full or read-only; nothing was stored.
            InvalidInput: a value cannot be stored, such as NaN in a JSON document.
        """
        with self._translated(), self._open(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Generator[Session]:
        """Open a transaction that only reads: on SQLite it waits for no writer.

        Raises:
            StorageFailed: the database is gone.
        """
        with (
            self._translated(),
            self.engine.connect().execution_options(**{READING: True}) as connection,
            self._open(connection) as session,
        ):
            yield session

    def upgrade(self) -> None:
        """Bring the tables to this version's revision; safe when several processes do so.

        Raises:
            WrongState: a newer version of this project wrote the database.
            StorageFailed: the database is gone, full or read-only.
        """
        with self.upgraded():
            pass

    @contextmanager
    def upgraded(self) -> Generator[Connection]:
        """Open a transaction that begins with an upgrade; without its end there was none.

        References are not checked in it on SQLite.

        Raises:
            WrongState: a newer version of this project wrote the database.
            StorageFailed: the database is gone, full or read-only.
        """
        if self.is_sqlite:
            self._make_directory()
        with (
            self._translated(),
            self.engine.connect() as connection,
            _without_references(connection),
            connection.begin(),
        ):
            schema.upgrade(connection)
            yield connection

    def check(self) -> None:
        """Make sure that the database answers and has this version's tables.

        Raises:
            WrongState: the tables are older or newer than this version of the project.
            StorageFailed: the database is gone.
        """
        with self._translated(), self.engine.connect() as connection:
            schema.check(connection.execution_options(**{READING: True}))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _make_directory(self) -> None:
        directory = Path(self.engine.url.database or "").absolute().parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailed(
                f"the database's directory {directory} cannot be made ({error.strerror}); "
                "choose a place that can be written"
            ) from error

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except AutomlCompressError:
            raise
        except DBAPIError as error:
            if not is_storage_failure(error):
                raise
            place = self.engine.url.render_as_string(hide_password=True)
            kind = DatabaseAway if is_away(error) else StorageFailed
            raise kind(
                f"the database {place} did not take it: {str(error.orig).strip()}; nothing was "
                "stored. Check that it runs, has room and can be written, then try again"
            ) from error
        except PoolTimeout as error:
            raise DatabaseAway(
                "every connection of this process to the database is in use; nothing was stored. "
                "Try again in a moment"
            ) from error
        except StatementError as error:
            if isinstance(error.orig, InvalidInput):
                raise error.orig from error
            raise


def create_database_engine(url: str) -> Engine:
    """Make an engine for our tables, or for the job engine's, with the same care.

    Raises:
        InvalidInput: the URL names neither a SQLite file nor a PostgreSQL database.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            json_serializer=_to_json,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=30,
            pool_timeout=POOL_SECONDS,
            connect_args={**POSTGRES_PATIENCE, "options": POSTGRES_OPTIONS},
        )
    engine = create_engine(
        parsed,
        json_serializer=_to_json,
        pool_size=10,
        max_overflow=30,
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def _without_references(connection: Connection) -> Generator[None]:
    """Let migrations make SQLite's tables anew, which others refer to."""
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise InvalidInput(f"{url!r} is no database URL ({error}); {_ALLOWED}") from error
    is_file = backend == "sqlite" and parsed.database not in (None, "", ":memory:")
    if not is_file and backend != "postgresql":
        shown = parsed.render_as_string(hide_password=True)
        raise InvalidInput(f"the database {shown!r} cannot be used; {_ALLOWED}")
    return parsed


_ALLOWED = "give sqlite:///path/to/file.sqlite or postgresql://user:password@host/database"


def _to_json(content: object) -> str:
    try:
        return json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"a value cannot be stored: {error}; store finite numbers and JSON values"
        ) from error


def _set_up_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # commits survive a power loss
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get(READING, False):
        connection.exec_driver_sql("BEGIN")
        return
    # A deferred transaction that turns into a writer fails at once instead of waiting. SQLite's
    # own waiting sleeps 100 ms between two tries: who stores trial after trial then keeps the
    # lock from everybody else, such as a user who cancels.
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA busy_timeout=0")
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    try:
        while _is_taken(cursor) and time.monotonic() < deadline:
            time.sleep(random.uniform(*BEGIN_PAUSE_SECONDS))
        if not connection.connection.in_transaction:  # raises what callers expect
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.close()


def _is_taken(cursor: Any) -> bool:
    """Try to begin a writing transaction; say whether another one is in the way."""
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return False
