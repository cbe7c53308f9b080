"""A sign of life: a row whose beats rise as long as this process lives."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from automl_api.engine.health import clock_trouble, version_trouble
from automl_compress import __version__
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, leases

logger = logging.getLogger(__name__)
BEATS_OF_A_LEASE = 3


class Lease:
    """Beats in a thread and over connections of its own, so that no work can delay it."""

    def __init__(
        self,
        url: str,
        owner: str,
        seconds: float,
        when_lost: Callable[[], None],
        trouble: Callable[[], str | None] = lambda: None,
        gpu: str | None = None,
    ) -> None:
        """Prepare the lease of `owner`.

        Args:
            url: of our tables.
            owner: unique to this start of this process.
            seconds: how long silence means life.
            when_lost: called once, when another worker has declared this one dead, or the tables
                have become those of another version.
            trouble: what keeps this process from its work, in words; asked at each beat.
            gpu: the name of the GPU that this process computes on, where it has one.
        """
        self.owner, self.seconds, self._gpu = owner, seconds, gpu
        self._database = Database(url)
        self._when_lost, self._trouble = when_lost, trouble
        self._said: str | None = None
        self._stop = threading.Event()
        self._healthy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Register, and begin to beat."""
        with self._database.session() as session:
            host = socket.gethostname()
            leases.register(session, self.owner, host, os.getpid(), __version__, self._gpu)
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
                is_alive = self._beat()
            except StorageFailed as error:
                self._healthy_since = None
                logger.warning("the lease was not renewed: %s", error)
                continue
            if not is_alive:
                self._healthy_since = None
                self._when_lost()
                return
            if self._healthy_since is None:
                self._healthy_since = time.monotonic()

    def _beat(self) -> bool:
        newer = version_trouble(self._database)
        if newer is not None:
            logger.error("worker %s stops: %s", self.owner, newer)
            return False
        with self._database.session() as session:
            ahead = leases.clock_ahead_seconds(session)
            trouble = self._trouble() or clock_trouble(ahead)
            is_alive = leases.renew(session, self.owner, ahead, trouble)
        if not is_alive:
            logger.warning("worker %s was declared dead by another one", self.owner)
        elif trouble != self._said:
            logger.warning("worker %s: %s", self.owner, trouble or "all is well again")
            self._said = trouble
        return is_alive
