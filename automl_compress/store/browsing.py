"""Rows as people look through them: by any column, page by numbered page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, defer

from automl_compress.core import Metric
from automl_compress.core.errors import InvalidInput
from automl_compress.store.paging import Page, check_limit, page_of
from automl_compress.store.tables import (
    EventRow,
    JobKind,
    JobRow,
    JobState,
    PolicyRow,
    Table,
    TrialRow,
)

Row = TypeVar("Row", bound=Table)

# Costs as floats: PostgreSQL's integers end at 2^31, and only their order matters here.
TRIAL_KEYS: Mapping[str, Any] = {
    "number": TrialRow.number,
    "score": TrialRow.score,
    "accuracy": TrialRow.measurement["accuracy"].as_float(),
    "macs": TrialRow.measurement["cost", "macs"].as_float(),
    "parameters": TrialRow.measurement["cost", "parameters"].as_float(),
    "size_bytes": TrialRow.measurement["cost", "size_bytes"].as_float(),
    "bit_operations": TrialRow.measurement["cost", "bit_operations"].as_float(),
    "micronet": TrialRow.measurement["cost", "micronet"].as_float(),
    "latency_ns": TrialRow.measurement["cost", "latency_ns"].as_float(),
    "state": TrialRow.state,
    "role": TrialRow.role,
}
TRIAL_COLUMNS = tuple(TRIAL_KEYS)
JOB_KEYS: Mapping[str, Any] = {
    "created": JobRow.id,  # which rises with time
    "name": func.lower(JobRow.name),
    "state": JobRow.state,
    "searcher": JobRow.spec["study", "searcher"].as_string(),
    "best": JobRow.best_score,
    "trials": JobRow.trials_done,
    "left": JobRow.eta_seconds,
}
JOB_COLUMNS = tuple(JOB_KEYS)


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
    """A stored policy document, by what tells it from others; no job found what a user brought."""

    id: str
    trial_number: int | None
    job_id: str | None
    job_name: str | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; what is left empty is of any.

    text: that stands somewhere in the name, in any case.
    policy_id: that an evaluation scores. search_id: whose trial a confirmation confirms.
    tags: that they have, with these values.
    """

    states: Sequence[JobState] = ()
    text: str = ""
    model_id: str | None = None
    dataset_id: str | None = None
    searcher: str | None = None
    kind: JobKind | None = None
    policy_id: str | None = None
    search_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def criteria(self) -> list[ColumnElement[bool]]:
        """Return the conditions of a query."""
        where: list[ColumnElement[bool]] = []
        if self.states:
            where.append(JobRow.state.in_(self.states))
        if self.text:
            where.append(JobRow.name.icontains(self.text, autoescape=True))
        told: tuple[tuple[Any, str | None], ...] = (
            (JobRow.model_id, self.model_id),
            (JobRow.dataset_id, self.dataset_id),
            (JobRow.policy_id, self.policy_id),
            (JobRow.search_id, self.search_id),
            (JobRow.kind, self.kind),
            (JobRow.spec["study", "searcher"].as_string(), self.searcher),
        )
        where += [column == value for column, value in told if value is not None]
        where += [JobRow.tags[name].as_string() == value for name, value in self.tags.items()]
        return where


ALL_JOBS = JobFilter()


def jobs(
    session: Session,
    wanted: JobFilter = ALL_JOBS,
    *,
    column: str = "created",
    is_falling: bool = True,
    number: int = 1,
    limit: int = 50,
) -> NumberedPage[JobRow]:
    """Return the jobs of one numbered page; of equal ones the newest first.

    Raises:
        InvalidInput: the column is none of `JOB_COLUMNS`.
    """
    key = check_column("jobs", JOB_KEYS, column)
    order = (key.is_(None), key.desc() if is_falling else key, JobRow.id.desc())
    return _page(session, select(JobRow).where(*wanted.criteria()), order, number, limit)


def jobs_behind(
    session: Session, after: str | None, wanted: JobFilter = ALL_JOBS, *, limit: int = 50
) -> Page[JobRow]:
    """Return jobs, the newest first, behind the job `after`."""
    where = wanted.criteria()
    return page_of(session, JobRow, JobRow.id, where, after=after, limit=limit)


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

    They come without their policies, which take longest to read.

    Raises:
        InvalidInput: the column is none of `TRIAL_COLUMNS`.
    """
    key = check_column("trials", TRIAL_KEYS, column)
    order: tuple[Any, ...] = (key.desc() if is_falling else key, TrialRow.number)
    if column != "number":  # whose index spares the sorting of all trials
        order = (key.is_(None), *order)
    query = select(TrialRow).where(TrialRow.job_id == job_id)
    query = query.options(defer(TrialRow.policy, raiseload=True))
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


def policies_for(session: Session, model_id: str, limit: int = 200) -> Sequence[PolicyOfJob]:
    """Return the policies that there are for a network, the newest first; no documents."""
    check_limit(limit)
    query = (
        select(PolicyRow.id, PolicyRow.trial_number, JobRow.id, JobRow.name)
        .outerjoin(JobRow, JobRow.id == PolicyRow.job_id)
        .where(PolicyRow.model_id == model_id)
        .order_by(PolicyRow.id.desc())
        .limit(limit)
    )
    return [PolicyOfJob(*each) for each in session.execute(query)]


def front(session: Session, job_id: str, metric: Metric, limit: int = 20) -> Sequence[TrialRow]:
    """Return the trials that no other one beats in both cost and score, the best score first.

    Of trials that are equal in both, the one with the lowest number stays. Those of before this
    cost was counted do not tell it, and are left out.

    Args:
        session: the transaction.
        job_id: whose trials.
        metric: the cost that counts, lower is better.
        limit: so many of the highest scores.
    """
    check_limit(limit)
    cost = TrialRow.measurement["cost", metric].as_float()
    falling = (
        select(TrialRow.number, cost)
        .where(TrialRow.job_id == job_id, TrialRow.score.is_not(None))
        .order_by(TrialRow.score.desc(), cost, TrialRow.number)
    )
    # Down from the best score, by its index, each that is cheaper than all above is on the front;
    # most trials of a long search are never looked at.
    numbers: list[int] = []
    cheapest = math.inf
    with session.execute(falling.execution_options(yield_per=200)) as rows:
        for number, told in chain.from_iterable(rows.partitions()):
            if told is not None and told < cheapest:
                numbers.append(number)
                cheapest = told
            if len(numbers) == limit:
                break
    # Put in order here: asked to do so, SQLite walks all trials by their score.
    query = select(TrialRow).where(TrialRow.job_id == job_id, TrialRow.number.in_(numbers))
    found = {row.number: row for row in session.scalars(query)}
    return [found[number] for number in numbers]


def check_column(things: str, columns: Mapping[str, Any], wanted: str) -> Any:
    """Return the column of this name; raises InvalidInput where there is none."""
    if wanted not in columns:
        raise InvalidInput(
            f"{things} cannot be sorted by {wanted!r}; choose one of: {', '.join(columns)}"
        )
    return columns[wanted]


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
    counted = query.with_only_columns(func.count(), maintain_column_froms=True)
    in_all = session.scalar(counted) or 0
    # A list may have become shorter since it was shown.
    shown = max(1, min(number, _last(in_all, limit)))
    rows = session.scalars(query.order_by(*order).limit(limit).offset((shown - 1) * limit)).all()
    return NumberedPage(rows, shown, limit, in_all)
