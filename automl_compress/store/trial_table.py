"""A job's trials as a table: what was measured of each, without its policy."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.core.budget import METRICS
from automl_compress.store.tables import TrialRow

_OF_ROW = ("number", "id", "state", "role", "images", "score")
_OF_MEASUREMENT = ("accuracy", "correct", "total", "cross_entropy", "kl", "fidelity", "split")
_OF_EFFORT = ("evaluations", "wall_seconds", "cpu_seconds")
_TEXTS = ("note", "failure")
_TIMES = ("created_at", "finished_at")
COLUMNS = (*_OF_ROW, *_OF_MEASUREMENT, *METRICS, *_OF_EFFORT, *_TEXTS, *_TIMES)


def rows_behind(session: Session, job_id: str, after: int, limit: int) -> Sequence[Sequence[Any]]:
    """Return the next rows of the table by number, a value for each of `COLUMNS`."""
    told = [getattr(TrialRow, name) for name in (*_OF_ROW, *_TEXTS, *_TIMES)]
    query = (
        select(TrialRow.measurement, *told)
        .where(TrialRow.job_id == job_id, TrialRow.number > after)
        .order_by(TrialRow.number)
        .limit(limit)
    )
    return [_row(measured or {}, values) for measured, *values in session.execute(query)]


def _row(measured: dict[str, Any], values: Sequence[Any]) -> list[Any]:
    own, rest = values[: len(_OF_ROW)], values[len(_OF_ROW) :]
    cost = measured.get("cost", {})
    return [
        *own,
        *(measured.get(name) for name in _OF_MEASUREMENT),
        *(cost.get(name) for name in METRICS),
        *(measured.get(name) for name in _OF_EFFORT),
        *rest,
    ]
