"""Pages behind a cursor in the order of any column, those without a value last."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from automl_compress.core.errors import InvalidInput
from automl_compress.store.browsing import (
    ALL_JOBS,
    JOB_KEYS,
    TRIAL_KEYS,
    JobFilter,
    check_column,
)
from automl_compress.store.paging import Page, check_limit, cut
from automl_compress.store.tables import JobRow, TrialRow


def jobs(
    session: Session,
    after: str | None,
    wanted: JobFilter = ALL_JOBS,
    *,
    column: str,
    is_falling: bool,
    limit: int = 50,
) -> Page[JobRow]:
    """Return jobs behind the job `after`; of equal ones the newest first.

    What changes its value meanwhile may come twice, or be missed.

    Raises:
        InvalidInput: there is no such column, or the job `after` is gone.
    """
    check_limit(limit)
    key = check_column("jobs", JOB_KEYS, column)
    where = wanted.criteria()
    if after is not None:
        _check_is_there(session.get(JobRow, after), after)
        at = JobRow.id == after
        where.append(_behind(key, at, is_falling, JobRow.id < after))
    query = select(JobRow).where(*where)
    order = (key.is_(None), key.desc() if is_falling else key, JobRow.id.desc())
    return cut(session.scalars(query.order_by(*order).limit(limit + 1)).all(), limit)


def trials(
    session: Session,
    job_id: str,
    after: int | None,
    *criteria: ColumnElement[bool],
    column: str,
    is_falling: bool,
    limit: int = 50,
) -> Page[TrialRow]:
    """Return a job's trials behind the trial `after`; of equal ones the earliest first.

    Raises:
        InvalidInput: there is no such column, or no trial `after`.
    """
    check_limit(limit)
    key = check_column("trials", TRIAL_KEYS, column)
    where = [TrialRow.job_id == job_id, *criteria]
    if after is not None:
        _check_is_there(session.get(TrialRow, (job_id, after)), after)
        at = and_(TrialRow.job_id == job_id, TrialRow.number == after)
        where.append(_behind(key, at, is_falling, TrialRow.number > after))
    query = select(TrialRow).where(*where)
    order = (key.is_(None), key.desc() if is_falling else key, TrialRow.number)
    return cut(session.scalars(query.order_by(*order).limit(limit + 1)).all(), limit)


def _check_is_there(row: object | None, after: object) -> None:
    if row is None:
        raise InvalidInput(
            f"after is {after!r}, which is not there any more, so its place in this order is not "
            "known; begin with the first page"
        )


def _behind(
    key: Any, at: ColumnElement[bool], is_falling: bool, is_behind_of_equals: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Return the condition of rows that come after the one `at`.

    The database compares its value itself, since a float may not come back from here the same.
    """
    cursor = select(key).where(at).correlate(None).scalar_subquery()
    beyond = key < cursor if is_falling else key > cursor
    return or_(
        and_(cursor.is_(None), key.is_(None), is_behind_of_equals),
        and_(
            cursor.is_not(None),
            or_(key.is_(None), beyond, and_(key == cursor, is_behind_of_equals)),
        ),
    )
