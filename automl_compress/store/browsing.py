"""Rows as people look through them: by any column, page by numbered page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from automl_compress.core import Metric, TrialState
from automl_compress.core.errors import InvalidInput
from automl_compress.store.paging import check_limit
from automl_compress.store.tables import EventRow, JobRow, JobState, PolicyRow, Table, TrialRow

Row = TypeVar("Row", bound=Table)

# Costs as floats: PostgreSQL's integers end at 2^31, and only their order matters here.
_TRIAL_COLUMNS: Mapping[str, Any] = {
    "number": TrialRow.number,
    "score": TrialRow.score,
    "accuracy": TrialRow.measurement["accuracy"].as_float(),
    "macs": TrialRow.measurement["cost", "macs"].as_float(),
    "parameters": TrialRow.measurement["cost", "parameters"].as_float(),
    "size_bytes": TrialRow.measurement["cost", "size_bytes"].as_float(),
    "bit_operations": TrialRow.measurement["cost", "bit_operations"].as_float(),
    "state": TrialRow.state,
    "role": TrialRow.role,
}
TRIAL_COLUMNS = tuple(_TRIAL_COLUMNS)


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[Row]):
    """One page of rows; `number` counts from 1, `rows_in_all` over every page."""

    rows: Sequence[Row]
    number: int
    limit: int
    rows_in_all: int

    @property
    def last(self) -> int:
        """The number of the last page."""
        return _last(self.rows_in_all, self.limit)


@dataclass(frozen=True, slots=True)
class PolicyOfJob:
    """A stored policy document, by what tells it from others."""

    id: str
    trial_number: int | None
    job_id: str
    job_name: str


def jobs(
    session: Session,
    *,
    states: Sequence[JobState] = (),
    text: str = "",
    model_id: str | None = None,
    dataset_id: str | None = None,
    number: int = 1,
    limit: int = 50,
) -> NumberedPage[JobRow]:
    """Return jobs, the newest first.

    Args:
        session: the transaction.
        states: of these alone; none for all.
        text: that stands somewhere in the name, in any case.
        model_id: of this network alone; None for any.
        dataset_id: on these data alone; None for any.
        number: of the page.
        limit: rows on a page.
    """
    where: list[ColumnElement[bool]] = []
    if states:
        where.append(JobRow.state.in_(states))
    if model_id is not None:
        where.append(JobRow.model_id == model_id)
    if dataset_id is not None:
        where.append(JobRow.dataset_id == dataset_id)
    if text:
        where.append(JobRow.name.icontains(text, autoescape=True))
    return _page(session, select(JobRow).where(*where), (JobRow.id.desc(),), number, limit)


def trials(
    session: Session,
    job_id: str,
    *,
    column: str = "number",
    is_falling: bool = False,
    number: int = 1,
    limit: int = 50,
) -> NumberedPage[TrialRow]:
    """Return a job's trials in the order of a column; those without a value come last.

    Raises:
        InvalidInput: the column is none of `TRIAL_COLUMNS`.
    """
    if column not in _TRIAL_COLUMNS:
        raise InvalidInput(
            f"trials cannot be sorted by {column!r}; choose one of: {', '.join(TRIAL_COLUMNS)}"
        )
    key = _TRIAL_COLUMNS[column]
    order = (key.is_(None), key.desc() if is_falling else key, TrialRow.number)
    query = select(TrialRow).where(TrialRow.job_id == job_id)
    return _page(session, query, order, number, limit)


def trial(session: Session, job_id: str, number: int) -> TrialRow | None:
    """Return a trial by its number in the job."""
    return session.get(TrialRow, (job_id, number))


def latest_trial(session: Session, job_id: str) -> TrialRow | None:
    """Return the trial that was asked for last."""
    query = select(TrialRow).where(TrialRow.job_id == job_id).order_by(TrialRow.number.desc())
    return session.scalars(query.limit(1)).one_or_none()


def latest_events(session: Session, job_id: str, limit: int = 50) -> Sequence[EventRow]:
    """Return what happened last, the newest first."""
    check_limit(limit)
    query = select(EventRow).where(EventRow.job_id == job_id).order_by(EventRow.seq.desc())
    return session.scalars(query.limit(limit)).all()


def jobs_in_states(session: Session) -> Mapping[JobState, int]:
    """Return how many jobs there are in each state; states without any are left out."""
    query = select(JobRow.state, func.count()).group_by(JobRow.state)
    return {row[0]: row[1] for row in session.execute(query)}


def waiting_jobs(session: Session, limit: int = 50) -> Sequence[JobRow]:
    """Return the jobs that have not ended, the oldest first: so they are taken."""
    check_limit(limit)
    query = select(JobRow).where(JobRow.finished_at.is_(None)).order_by(JobRow.id)
    return session.scalars(query.limit(limit)).all()


def policies_for(session: Session, model_id: str, limit: int = 200) -> Sequence[PolicyOfJob]:
    """Return the policies that jobs found for a network, the newest first; no documents."""
    check_limit(limit)
    query = (
        select(PolicyRow.id, PolicyRow.trial_number, JobRow.id, JobRow.name)
        .join(JobRow, JobRow.id == PolicyRow.job_id)
        .where(JobRow.model_id == model_id)
        .order_by(PolicyRow.id.desc())
        .limit(limit)
    )
    return [PolicyOfJob(*each) for each in session.execute(query)]


def front(session: Session, job_id: str, metric: Metric, limit: int = 20) -> Sequence[TrialRow]:
    """Return the trials that no other one beats in both cost and score, the best score first.

    Of trials that are equal in both, the one with the lowest number stays.

    Args:
        session: the transaction.
        job_id: whose trials.
        metric: the cost that counts, lower is better.
        limit: so many of the highest scores.
    """
    check_limit(limit)
    order = (
        TrialRow.measurement["cost", metric].as_float(),
        TrialRow.score.desc(),
        TrialRow.number,
    )
    before = func.max(TrialRow.score).over(order_by=order, rows=(None, -1))
    ranked = (
        select(TrialRow.number, TrialRow.score, before.label("before"))
        .where(TrialRow.job_id == job_id, TrialRow.score.is_not(None))
        .subquery()
    )
    stays = or_(ranked.c.before.is_(None), ranked.c.score > ranked.c.before)
    query = (
        select(TrialRow)
        .join(ranked, ranked.c.number == TrialRow.number)
        .where(TrialRow.job_id == job_id, stays)
        .order_by(ranked.c.score.desc())
    )
    return session.scalars(query.limit(limit)).all()


def finished_candidates(session: Session, job_id: str) -> Sequence[tuple[int, Mapping[str, Any]]]:
    """Return number and measurement of the trials that compete, by number; no policies."""
    query = (
        select(TrialRow.number, TrialRow.measurement)
        .where(
            TrialRow.job_id == job_id,
            TrialRow.state == TrialState.COMPLETE,
            TrialRow.score.is_not(None),
        )
        .order_by(TrialRow.number)
    )
    return [(number, measured or {}) for number, measured in session.execute(query)]


def _last(rows_in_all: int, limit: int) -> int:
    return max(1, -(-rows_in_all // limit))


def _page(
    session: Session,
    query: Select[Row],
    order: Sequence[Any],
    number: int,
    limit: int,
) -> NumberedPage[Row]:
    check_limit(limit)
    in_all = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    # A list may have become shorter since it was shown.
    shown = max(1, min(number, _last(in_all, limit)))
    rows = session.scalars(query.order_by(*order).limit(limit).offset((shown - 1) * limit)).all()
    return NumberedPage(rows, shown, limit, in_all)
