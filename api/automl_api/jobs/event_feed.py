"""What open streams are told, with one reader for all of a process, however many there are."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from anyio import to_thread
from fastapi.sse import format_sse_event

from automl_api.jobs.schemas import event_body
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, EventRow, events, heads
from automl_compress.store.heads import Head

LOOK_SECONDS = 0.25  # between two looks at the jobs that anybody watches
# What a stream holds in memory while its client takes nothing: a page, and pieces on their way.
PAGE_EVENTS = 50
PIECE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events as streams send them, encoded once for all.

    last_seq: number of the last one; pieces: whole events, of about `PIECE_BYTES` together.
    """

    last_seq: int
    pieces: Sequence[bytes]


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
    _page: tuple[int, asyncio.Future[EventPage]] | None = None

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

    async def events_after(self, seq: int) -> EventPage:
        """Return the next events; streams at the same place read them once.

        There are none where the job was deleted.

        Raises:
            StorageFailed: the database is gone.
        """
        if self._page is None or self._page[0] != seq or _has_failed(self._page[1]):
            self._page = seq, asyncio.ensure_future(to_thread.run_sync(self._read, seq))
        return await asyncio.shield(self._page[1])

    def _read(self, seq: int) -> EventPage:
        with self.database.reading() as session:
            rows = events.page(session, self.job_id, after=seq, limit=PAGE_EVENTS).rows
        if not rows:
            return EventPage(seq, ())
        return EventPage(rows[-1].seq, tuple(_pieces(map(_to_bytes, rows))))


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


def _has_failed(page: asyncio.Future[EventPage]) -> bool:
    return page.done() and (page.cancelled() or page.exception() is not None)


def _to_bytes(row: EventRow) -> bytes:
    body = event_body(row)
    content = json.dumps(body.model_dump(mode="json"))
    return format_sse_event(data_str=content, event=body.type, id=str(body.seq))


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts up to about `PIECE_BYTES`: each piece is sent for itself."""
    gathered, size_bytes = list[bytes](), 0
    for part in parts:
        if gathered and size_bytes + len(part) > PIECE_BYTES:
            yield b"".join(gathered)
            gathered, size_bytes = [], 0
        gathered.append(part)
        size_bytes += len(part)
    yield b"".join(gathered)
