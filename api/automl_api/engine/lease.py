"""A sign of life: a row whose beats rise as long as this process lives."""

import logging
import socket
import threading
import time
from collections.abc import Callable

from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, leases

logger = logging.getLogger(__name__)
BEATS_OF_A_LEASE = 3


class Lease:
    """Beats in a thread and over connections of its own, so that no work can delay it."""

    def __init__(self, url: str, owner: str, seconds: float, when_lost: Callable[[], None]) -> None:
        """Prepare the lease of `owner`.

        Args:
            url: of our tables.
            owner: unique to this start of this process.
            seconds: how long silence means life.
            when_lost: called once, when another worker has declared this one dead.
        """
        self.owner, self.seconds = owner, seconds
        self._database = Database(url)
        self._when_lost = when_lost
        self._stop = threading.Event()
        self._healthy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Register, and begin to beat."""
        with self._database.session() as session:
            leases.register(session, self.owner, socket.gethostname())
        self._healthy_since = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop to beat; the row stays until `remove`, or until it is reaped."""
        self._stop.set()
        self._thread.join()
        self._database.close()

    @property
    def healthy_since(self) -> float | None:
        """Since when, by the monotonic clock, every beat was stored; None while they are not."""
        return self._healthy_since

    def _run(self) -> None:
        while not self._stop.wait(self.seconds / BEATS_OF_A_LEASE):
            try:
                with self._database.session() as session:
                    is_alive = leases.renew(session, self.owner)
            except StorageFailed as error:
                self._healthy_since = None
                logger.warning("the lease was not renewed: %s", error)
                continue
            if not is_alive:
                self._healthy_since = None
                logger.warning("worker %s was declared dead by another one", self.owner)
                self._when_lost()
                return
            if self._healthy_since is None:
                self._healthy_since = time.monotonic()
