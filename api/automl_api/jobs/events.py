"""A job's events, as a page and as a stream."""

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, cast

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.responses import StreamingResponse

from automl_api.jobs.schemas import EventBody, event_body
from automl_api.keys.doorkeeper import Doorkeeper
from automl_api.pages import Limit, Listing, listing
from automl_api.problem import Problem
from automl_api.service import Service, ServiceDependency
from automl_compress.core.errors import StorageFailed
from automl_compress.store import events as event_rows
from automl_compress.store import jobs as job_rows

KEEPALIVE_SECONDS = 15.0

_LAST_SEQ = 2**63 - 1

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["events"])


@router.get(
    "",
    response_model=Listing[EventBody],
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def list_events(
    job_id: str,
    request: Request,
    service: ServiceDependency,
    after: Annotated[int, Query(ge=0, le=_LAST_SEQ, description="The last `seq` seen.")] = 0,
    limit: Limit = 100,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response | Listing[EventBody]:
    """List a job's events, or stream them with `Accept: text/event-stream`.

    The stream begins behind `Last-Event-ID` and ends when the job has ended, or shortly after the
    key was revoked.
    """
    if not _wants_stream(request):
        return await to_thread.run_sync(_page, service, job_id, after, limit)
    await to_thread.run_sync(_check_exists, service, job_id)  # no such job: a problem, no stream
    start = max(after, _sequence_number(last_event_id))
    doorkeeper = cast("Doorkeeper", request.app.state.doorkeeper)
    welcome = _Welcome(partial(doorkeeper.still_admits, request.state.caller))
    return StreamingResponse(
        _stream(service, job_id, start, welcome),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _page(service: Service, job_id: str, after: int, limit: int) -> Listing[EventBody]:
    with service.database.reading() as session:
        job_rows.get(session, job_id)
        page = event_rows.page(session, job_id, after=after, limit=limit)
    return listing(page, event_body, f"/v1/jobs/{job_id}/events", {"limit": limit}, key="seq")


def _check_exists(service: Service, job_id: str) -> None:
    with service.database.reading() as session:
        job_rows.get(session, job_id)


async def _stream(
    service: Service, job_id: str, after: int, welcome: "_Welcome"
) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    async with service.feed.watching(job_id) as job:
        while await welcome.lasts():
            head = job.head
            if head is not None and head.events > after:
                page = await job.events_after(after)
                if not page.pieces:  # the job was deleted
                    return
                after = page.last_seq
                for piece in page.pieces:
                    yield piece
            elif head is not None and head.has_ended:
                return
            elif not await job.changed(KEEPALIVE_SECONDS):
                yield KEEPALIVE_COMMENT


class _Welcome:
    """Whether the caller of a long answer may still come in, asked now and then."""

    def __init__(self, may_come_in: Callable[[], bool]) -> None:
        self._may_come_in, self._asked = may_come_in, time.monotonic()

    async def lasts(self) -> bool:
        if time.monotonic() - self._asked < KEEPALIVE_SECONDS:
            return True
        self._asked = time.monotonic()
        try:
            return await to_thread.run_sync(self._may_come_in)
        except StorageFailed:  # streams outlast a database that is away; it is asked again
            return True


def _wants_stream(request: Request) -> bool:
    accept = request.headers.get("Accept", "*/*")
    wanted = [each.split(";")[0].strip().lower() for each in accept.split(",")]
    if "text/event-stream" in wanted:
        return True
    if not {"application/json", "application/*", "*/*"} & set(wanted):
        raise Problem(
            406,
            "not-acceptable",
            f"events come as application/json or text/event-stream, not as {accept!r}",
        )
    return False


def _sequence_number(told: str | None) -> int:
    if told is None or not told.strip():
        return 0
    if not told.strip().isdecimal() or int(told) > _LAST_SEQ:
        detail = f"Last-Event-ID is {told!r}; send the id of the last event, a whole number"
        raise Problem(
            422, "invalid", detail, errors=[{"parameter": "Last-Event-ID", "detail": detail}]
        )
    return int(told)
