"""Moves the jobs of dead workers to living ones, and finds jobs that nobody works on."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from automl_api.engine.lease import BEATS_OF_A_LEASE, Lease
from automl_api.engine.queue import JobQueue
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, JobRow, jobs, leases
from automl_compress.store.tables import LeaseRow

logger = logging.getLogger(__name__)
WORKING = ("ENQUEUED", "DELAYED", "PENDING")


class Reaper:
    """Judges other workers by their beats, as this process saw them.

    A worker is dead when its beats have not risen for a full lease, all of which this process
    has seen, beating itself without an error: after a database outage every worker is silent.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        lease: Lease,
        is_working_on: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
        tidy: Callable[[], object] = lambda: None,
    ) -> None:
        """Judge in the name of the lease's owner.

        Args:
            database: our tables.
            queue: of the same service.
            lease: this process's own.
            is_working_on: whether this process runs a workflow, by its id.
            clock: seconds, from any origin.
            tidy: further work that some worker has to do now and then.
        """
        self._database, self._queue, self._lease, self._clock = database, queue, lease, clock
        self._is_working_on, self._tidy = is_working_on, tidy
        self._stranded_since: dict[str, float] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self._lost_since: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def start(self) -> None:
        """Begin to judge."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to judge."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._lease.seconds / BEATS_OF_A_LEASE):
            try:
                self.reap()
                self.sweep()
                self.free()
                self._tidy()
            except StorageFailed as error:
                logger.warning("dead workers were not looked for: %s", error)
            except Exception:
                logger.exception("dead workers were not looked for")

    def reap(self) -> list[str]:
        """Queue the jobs of dead workers again; return these workers' names."""
        with self._database.reading() as session:
            rows = leases.every(session)
        dead = self._dead(rows)
        for row in dead:
            self._take(row)
        return [row.owner for row in dead]

    def _dead(self, rows: Sequence[LeaseRow]) -> list[LeaseRow]:
        now, healthy_since = self._clock(), self._lease.healthy_since
        seen = {row.owner: self._seen.get(row.owner, (-1, now)) for row in rows}
        self._seen = {
            row.owner: seen[row.owner] if seen[row.owner][0] == row.beats else (row.beats, now)
            for row in rows
        }
        if healthy_since is None:
            return []
        return [
            row
            for row in rows
            if row.owner != self._lease.owner
            and max(self._seen[row.owner][1], healthy_since) + self._lease.seconds <= now
        ]

    def _take(self, dead: LeaseRow) -> None:
        with self._database.session() as session:
            is_elected = leases.take_over(session, dead, self._lease.owner)
        if not is_elected:
            return
        moved = self._queue.move_from(dead.owner)
        with self._database.session() as session:
            leases.remove(session, dead.owner)
        logger.warning("worker %s is dead; queued again: %s", dead.owner, moved or "nothing")

    def sweep(self) -> list[str]:
        """Queue active jobs that the queue does not know, or gave up; return their ids.

        They exist when a process died between its write to our tables and its write to the
        queue's, or when the queue's database was away for long.
        """
        with self._database.reading() as session:
            rows = jobs.active(session)
        statuses = self._queue.statuses(rows)
        lost = [row for row in rows if statuses.get(row.id) not in WORKING]
        now = self._clock()
        self._lost_since = {
            (row.id, row.attempt): self._lost_since.get((row.id, row.attempt), now) for row in lost
        }
        overdue = [
            row
            for row in lost
            if self._lost_since[row.id, row.attempt] + self._lease.seconds <= now
        ]
        for row in overdue:
            self._queue_again(row, is_known=row.id in statuses)
        return [row.id for row in overdue]

    def free(self) -> list[str]:
        """Queue again what is in this process's hands for the queue alone; return the ids.

        A thread ends unheard when the queue's database takes nothing, as on a full disk.
        """
        taken = self._queue.taken_by(self._lease.owner)
        stranded = [each for each in taken if not self._is_working_on(each)]
        now = self._clock()
        self._stranded_since = {each: self._stranded_since.get(each, now) for each in stranded}
        overdue = [
            each for each in stranded if self._stranded_since[each] + self._lease.seconds <= now
        ]
        self._queue.move(overdue)
        if overdue:
            logger.warning("the queue took nothing for a while; queued again: %s", overdue)
        return overdue

    def _queue_again(self, row: JobRow, *, is_known: bool) -> None:
        if is_known:  # its workflow has ended; a new attempt is a new workflow
            with self._database.session() as session:
                if not jobs.retry(session, row.id, row.attempt):
                    return
        logger.warning("job %s was lost by the queue; queued again", row.id)
        self._queue.submit(row.id)
