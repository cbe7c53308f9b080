"""How DBOS is set up: its database, its names, its silence."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from automl_api.settings import Settings
from automl_compress.core.errors import DatabaseAway, StorageFailed
from automl_compress.store.database import POSTGRES_PATIENCE
from automl_compress.store.outages import is_away

APPLICATION = "automl-compress"
GENERATION = "1"  # of the workflow's steps: a worker takes no job of another generation
QUEUE, GPU_QUEUE = "jobs", "gpu-jobs"  # a worker without a GPU takes nothing of the second
WORKFLOW = "run_job"
BUSY_TIMEOUT_MS = 30_000
IDLE_TRANSACTION_SECONDS = 15.0  # a process that stops within a transaction locks out nobody


def system_url(settings: Settings) -> sa.URL:
    """Return where DBOS keeps its tables: beside ours, or in a schema of the same database."""
    url = sa.make_url(settings.tables_url)
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        return url.set(database=str(path.with_name(f"{path.stem}-queue.sqlite")))
    return url.set(drivername="postgresql+psycopg")


def migrate(settings: Settings) -> None:
    """Bring DBOS's tables to the installed version; our own come by `Database.upgrade`.

    Raises:
        StorageFailed: the database is gone, full or read-only.
    """
    with storage_errors():
        quieten()
        DBOS.migrate(system_url(settings).render_as_string(hide_password=False))


def worker_engine(settings: Settings) -> sa.Engine | None:
    """Return the engine that DBOS uses in a worker; None leaves PostgreSQL's to DBOS."""
    url = system_url(settings)
    return _sqlite_engine(url) if url.get_backend_name() == "sqlite" else None


def client_engine(settings: Settings) -> sa.Engine:
    """Return an engine that answers an unreachable database with an error, at once."""
    url = system_url(settings)
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    return sa.create_engine(url, pool_pre_ping=True, connect_args=POSTGRES_PATIENCE)


def configuration(settings: Settings, executor_id: str, engine: sa.Engine | None) -> DBOSConfig:
    """Return the configuration of a worker process."""
    return {
        "name": APPLICATION,
        "executor_id": executor_id,
        "application_version": GENERATION,
        "system_database_url": system_url(settings).render_as_string(hide_password=False),
        "system_database_engine": engine,
        "serializer": DBOSPortableJSONSerializer(),  # the default one pickles
        "sys_db_idle_transaction_timeout_sec": IDLE_TRANSACTION_SECONDS,
        "log_level": "WARNING",
        "enable_otlp": False,
    }


def make_client(engine: sa.Engine) -> DBOSClient:
    """Return a client; it opens nothing before its first call, and never waits for a database."""
    return DBOSClient(
        system_database_engine=engine,
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,
    )


@contextmanager
def storage_errors() -> Generator[None]:
    """Turn errors of DBOS's database into StorageFailed."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        away = not isinstance(error, DBAPIError) or is_away(error)
        raise (DatabaseAway if away else StorageFailed)(
            f"the queue's database did not take it: {str(reason).strip()}; nothing was queued. "
            "Check that it runs, has room and can be written, then try again"
        ) from error


def quieten() -> None:
    """Keep DBOS from reporting what is no news."""
    logger = logging.getLogger("dbos")
    logger.setLevel(logging.WARNING)
    logger.handlers.clear()  # its lines go where all others go
    logger.propagate = True
    if not any(isinstance(each, _Expected) for each in logger.filters):
        logger.addFilter(_Expected())


class _Expected(logging.Filter):
    """Drops reports of executions that ended because another one owns their job now.

    A step that is tried again is reported in one line, for it may be tried for minutes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "automatically retried" in text and record.exc_info:
            record.msg, record.args = f"{text}: {record.exc_info[1]}", ()
            record.exc_info = None
        return "no longer owned" not in text and "AwaitedWorkflowCancelled" not in text


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    # DBOS begins its migrations by hand, so the driver's own transactions stay switched on.
    engine = sa.create_engine(url)
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _entry: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # checkpoints survive a power loss
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
