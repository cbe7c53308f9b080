"""`/v1/jobs/{id}/trials.csv`: a job's trials as a file for spreadsheets and data frames."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from automl_api.bodies import timestamp
from automl_api.service import Service, ServiceDependency
from automl_compress.store import jobs as job_rows
from automl_compress.store import trial_table

ROWS_AT_ONCE = 500
# What makes a formula of a cell, in whichever spreadsheet; the wide ones too.
_BEGIN_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

router = APIRouter(tags=["trials"])


@router.get(
    "/v1/jobs/{job_id}/trials.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def get_trial_file(job_id: str, service: ServiceDependency) -> StreamingResponse:
    """Give all trials of a job as CSV by number, a column for each figure; policies are left out.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    with service.database.reading() as session:
        job_rows.get(session, job_id)
    headers = {
        "Content-Disposition": f'attachment; filename="trials-{job_id}.csv"',
        "Cache-Control": "no-store",
    }
    media_type = "text/csv; charset=utf-8; header=present"
    return StreamingResponse(_lines(service, job_id), headers=headers, media_type=media_type)


def _lines(service: Service, job_id: str) -> Iterator[bytes]:
    """Yield some rows at a time; between two of them, no connection to the database is held."""
    rows: Sequence[Sequence[Any]] = [trial_table.COLUMNS]
    yield _written(rows)
    after = -1
    while rows:
        with service.database.reading() as session:
            rows = trial_table.rows_behind(session, job_id, after, ROWS_AT_ONCE)
        if rows:
            after = rows[-1][0]
            yield _written(rows)


def _written(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, str) and value.lstrip(" ").startswith(_BEGIN_FORMULAS):
        return f"'{value}"
    return value
