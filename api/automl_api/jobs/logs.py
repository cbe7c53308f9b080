"""`/v1/jobs/{id}/logs`: what happened to a job, a line of text for each event."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from automl_api.bodies import timestamp
from automl_api.jobs.schemas import EventBody, event_body
from automl_api.service import Service, ServiceDependency
from automl_compress.store import events as event_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store.paging import LARGEST_PAGE

_LAST_SEQ = 2**63 - 1

router = APIRouter(tags=["events"])


@router.get(
    "/v1/jobs/{job_id}/logs",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_logs(
    job_id: str,
    service: ServiceDependency,
    after: Annotated[int, Query(ge=0, le=_LAST_SEQ, description="The last `seq` seen.")] = 0,
) -> StreamingResponse:
    """Give what happened to a job as lines of text: time, level, `seq`, event, and its figures.

    They are made of the job's events; what its worker wrote besides is in the worker's own log.
    """
    with service.database.reading() as session:
        job_rows.get(session, job_id)
    lines = _lines(service, job_id, after)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(lines, headers=headers, media_type="text/plain; charset=utf-8")


def log_line(event: EventBody) -> str:
    """Write an event as one line, whatever texts are in it."""
    told = " ".join(f"{name}={_value(value)}" for name, value in _figures(event.data))
    return f"{timestamp(event.at)} {_level(event):<7} {event.seq} {event.type} {told}".rstrip()


def _lines(service: Service, job_id: str, after: int) -> Iterator[bytes]:
    """Yield some lines at a time; between two of them, no connection to the database is held."""
    has_more = True
    while has_more:
        with service.database.reading() as session:
            page = event_rows.page(session, job_id, after=after, limit=LARGEST_PAGE)
        has_more = page.has_more
        if page.rows:
            after = page.rows[-1].seq
        yield "".join(f"{log_line(event_body(row))}\n" for row in page.rows).encode()


def _level(event: EventBody) -> str:
    if event.data.get("state") == "failed":
        return "ERROR"
    return "WARNING" if event.type.endswith(".failed") else "INFO"


def _figures(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is short: no lists, and of an object within only what is a figure itself."""
    for name, value in data.items():
        if isinstance(value, Mapping) and not prefix:
            yield from _figures(cast("Mapping[str, Any]", value), f"{name}.")
        elif value is not None and not isinstance(value, Mapping | list):
            yield f"{prefix}{name}", value


def _value(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    is_plain = text.isprintable() and not {" ", '"', "="} & {*text} and text
    return text if is_plain else json.dumps(text)
