"""What open streams are told, with one reader for all of a process, however many there are."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from anyio import to_thread

from automl_api.jobs.schemas import EventBody, event_body
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, events, heads
from automl_compress.store.heads import Head
from automl_compress.store.paging import LARGEST_PAGE

LOOK_SECONDS = 0.25  # between two looks at the jobs that anybody watches


@dataclass
class WatchedJob:
    """A job that streams watch; they share what was read of it.

    head: its number of events and state at the latest look; None before the first.
    """

    job_id: str
    database: Database
    head: Head | None = None
    streams: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _page: tuple[int, asyncio.Future[list[EventBody]]] | None = None

    def see(self, head: Head) -> None:
        """Take note of a look, and wake the streams if there is anything new."""
        if head != self.head:
            self.head = head
            self._news.set()
            self._news = asyncio.Event()

    async def changed(self, seconds: float) -> bool:
        """Wait for news; say whether there were any before the time ran out."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
            return True
        return False

    async def events_after(self, seq: int) -> Sequence[EventBody]:
        """Return the next events; streams at the same place read them once.

        Raises:
            StorageFailed: the database is gone.
        """
        if self._page is None or self._page[0] != seq or _has_failed(self._page[1]):
            self._page = seq, asyncio.ensure_future(to_thread.run_sync(self._read, seq))
        return await asyncio.shield(self._page[1])

    def _read(self, seq: int) -> list[EventBody]:
        with self.database.reading() as session:
            page = events.page(session, self.job_id, after=seq, limit=LARGEST_PAGE)
        return [event_body(row) for row in page.rows]


class EventFeed:
    """Looks at all watched jobs by one query, as long as there are any."""

    def __init__(self, database: Database) -> None:
        """Read from this database, of every account; who watches may see the job."""
        self._database = database
        self._jobs: dict[str, WatchedJob] = {}
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, job_id: str) -> AsyncGenerator[WatchedJob]:
        """Keep an eye on a job within the block."""
        job = self._jobs.setdefault(job_id, WatchedJob(job_id, self._database))
        job.streams += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield job
        finally:
            job.streams -= 1
            if not job.streams:
                del self._jobs[job_id]

    async def _look(self) -> None:
        try:
            while self._jobs:
                with suppress(StorageFailed):  # once it is back, nothing was missed
                    for job_id, head in (await to_thread.run_sync(self._heads)).items():
                        if job_id in self._jobs:
                            self._jobs[job_id].see(head)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._looking = None

    def _heads(self) -> Mapping[str, Head]:
        with self._database.reading() as session:
            return heads.of_jobs(session, list(self._jobs))


def _has_failed(page: asyncio.Future[list[EventBody]]) -> bool:
    return page.done() and (page.cancelled() or page.exception() is not None)
