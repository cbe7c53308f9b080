"""Removes the bytes of networks whose time is over, where the operator set one."""

import logging
import time
from collections.abc import Callable

from automl_compress.store import ArtifactFiles, Database, retention

LOOK_SECONDS = 600.0  # between two looks; days are what is counted
logger = logging.getLogger(__name__)


class Retention:
    """Looks for what is overdue, now and then; several workers may do it at once."""

    def __init__(
        self,
        database: Database,
        files: ArtifactFiles,
        days: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep networks for so many days; None keeps them for ever."""
        self._database, self._files, self._days, self._clock = database, files, days, clock
        self._next_look = clock()

    def look(self) -> list[str]:
        """Remove what is overdue, unless the last look was a moment ago; return the paths.

        Raises:
            StorageFailed: the database is away, or the disk cannot be written.
        """
        if self._days is None or self._clock() < self._next_look:
            return []
        with self._database.reading() as session:
            found = retention.overdue(session, self._days)
        for _, path in found:  # first, so that who dies in between does it again
            self._files.remove(path)
        if found:
            with self._database.session() as session:
                retention.note_removed(session, [artifact_id for artifact_id, _ in found])
            logger.info("removed %d files after %g days", len(found), self._days)
        else:
            self._next_look = self._clock() + LOOK_SECONDS
        return [path for _, path in found]
