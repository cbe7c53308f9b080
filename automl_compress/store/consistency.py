"""What must hold of the tables and the files at any moment, and where it does not.

All checks read one snapshot of the database, so that workers may go on meanwhile.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, text
from sqlalchemy.orm import Session

from automl_compress.core import TrialState
from automl_compress.store import trials
from automl_compress.store.artifact_files import ArtifactFiles
from automl_compress.store.jobs import TERMINAL
from automl_compress.store.stored_files import file_violations
from automl_compress.store.tables import (
    EventRow,
    JobRow,
    JobState,
    PolicyRow,
    SnapshotRow,
    TrialRow,
)
from automl_compress.store.trials import FAILED_EVALUATIONS

TOLERANCE = 1e-6  # relative, of sums that were added up in another order


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must hold and does not: the rule, what breaks it, and how."""

    rule: str
    subject: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """Return the violation as a JSON object."""
        return asdict(self)


def violations(session: Session, data_dir: Path) -> list[Violation]:
    """Check every rule.

    Args:
        session: a transaction in which nothing was read yet.
        data_dir: where the files lie; every one that a row names is read whole.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    found = [
        Violation(rule, subject, detail)
        for rule, check in RULES.items()
        for subject, detail in check(session)
    ]
    files = file_violations(session, ArtifactFiles(data_dir))
    return found + [Violation("files are there, whole", *each) for each in files]


Broken = Iterator[tuple[str, str]]  # subject and detail


def _states(session: Session) -> Broken:
    """Ended jobs say how, and nobody owns them; those that wait are not owned either."""
    terminal = JobRow.state.in_(TERMINAL)
    rules: tuple[tuple[ColumnElement[bool], str], ...] = (
        (and_(terminal, JobRow.finished_at.is_(None)), "has ended, but not when"),
        (and_(~terminal, JobRow.finished_at.is_not(None)), "has not ended, but says when"),
        (
            and_(or_(terminal, JobRow.state == JobState.PAUSED), JobRow.owner.is_not(None)),
            "is stopped, but owned",
        ),
        (and_(JobRow.state == JobState.SUCCEEDED, JobRow.result.is_(None)), "has no result"),
        (and_(JobRow.state == JobState.FAILED, JobRow.error.is_(None)), "does not say why"),
    )
    for broken, detail in rules:
        for job_id, state in session.execute(select(JobRow.id, JobRow.state).where(broken)):
            yield job_id, f"{state} {detail}"


def _trials(session: Session) -> Broken:
    """Trials are numbered without holes, and the job's figures are their sums."""
    for row in session.execute(_sums_of_trials()):
        said, count = row.told or 0, row.asked or 0
        if count and row.last != count - 1:
            yield row.id, f"{count} trials, the last one is number {row.last}"
        if said != row.trials_done:
            yield row.id, f"trials_done is {row.trials_done}, {said} trials are told"
        if count + said != row.history_length:
            yield row.id, f"history_length is {row.history_length}, not {count} + {said}"
        spent = row.spent or 0.0
        if abs(spent - row.evaluations) > TOLERANCE * max(spent, 1.0):
            yield row.id, f"evaluations are {row.evaluations}, those of its trials {spent}"
        if row.best_score != row.highest and (told := _wrong_best(session, row.id)):
            yield row.id, told


def _wrong_best(session: Session, job_id: str) -> str | None:
    """Say which score the best trial has, where the job says another."""
    job = session.get_one(JobRow, job_id)
    best = trials.best(session, job)
    score = best[0].score if best else None
    if score == job.best_score:
        return None
    return f"best_score is {job.best_score}, that of the best trial is {score}"


def _sums_of_trials() -> Select[tuple[str, int, int, float, float, int, int, int, float, float]]:
    measured = TrialRow.measurement["evaluations"].as_float()
    spent = case((TrialRow.state == TrialState.FAILED, FAILED_EVALUATIONS), else_=measured)
    job = (JobRow.id, JobRow.trials_done, JobRow.history_length, JobRow.evaluations)
    return (
        select(
            *job,
            JobRow.best_score,
            func.count(TrialRow.number).label("asked"),
            func.max(TrialRow.number).label("last"),
            func.count(TrialRow.told_position).label("told"),
            func.sum(spent).label("spent"),
            func.max(TrialRow.score).label("highest"),
        )
        .outerjoin(TrialRow, TrialRow.job_id == JobRow.id)
        .group_by(*job, JobRow.best_score)
    )  # pyright: ignore[reportReturnType] - columns of an outer join


def _outcomes(session: Session) -> Broken:
    """A trial has an outcome exactly when it was told."""
    running, complete = TrialRow.state == TrialState.RUNNING, TrialRow.state == TrialState.COMPLETE
    is_told = TrialRow.told_position.is_not(None)
    measured, failed = TrialRow.measurement.is_not(None), TrialRow.failure.is_not(None)
    sound = or_(
        and_(running, ~is_told, ~measured, ~failed),
        and_(complete, is_told, measured, ~failed),
        and_(TrialRow.state == TrialState.FAILED, is_told, failed),
    )
    query = select(TrialRow.job_id, TrialRow.number, TrialRow.state).where(~sound)
    for job_id, number, state in session.execute(query):
        yield job_id, f"trial {number} is {state}, but its outcome is not"


def _history(session: Session) -> Broken:
    """No two asks and tells of a job have one place, and no snapshot is of later."""
    for column in (TrialRow.asked_position, TrialRow.told_position):
        query = select(TrialRow.job_id, column).where(column.is_not(None))
        doubled = query.group_by(TrialRow.job_id, column).having(func.count() > 1)
        for job_id, position in session.execute(doubled):
            yield job_id, f"two trials have {column.key} {position}"
    query = select(SnapshotRow.job_id, SnapshotRow.position, JobRow.history_length)
    later = query.join(JobRow).where(SnapshotRow.position > JobRow.history_length)
    for job_id, position, length in session.execute(later):
        yield job_id, f"its snapshot is of {position}, its history ends at {length}"


def _events(session: Session) -> Broken:
    """Events count from 1 without gaps, and every tell is one of them."""
    told = case((EventRow.kind.in_(("trial.completed", "trial.failed")), 1))
    query = (
        select(
            JobRow.id,
            JobRow.event_count,
            JobRow.trials_done,
            func.count(EventRow.seq),
            func.coalesce(func.max(EventRow.seq), 0),
            func.count(told),
        )
        .outerjoin(EventRow, EventRow.job_id == JobRow.id)
        .group_by(JobRow.id, JobRow.event_count, JobRow.trials_done)
    )
    for job_id, said, done, count, last, tells in session.execute(query):
        if not said == count == last:
            yield job_id, f"event_count is {said}, {count} events up to {last} are stored"
        if tells != done:
            yield job_id, f"{tells} events tell of trials, {done} trials were told"


def _policies(session: Session) -> Broken:
    """Policies are of stored trials, and a result names policies that are there."""
    search_id = func.coalesce(JobRow.search_id, JobRow.id)  # a confirmation's trials are there
    pair = (TrialRow.job_id == search_id) & (TrialRow.number == PolicyRow.trial_number)
    of_jobs = select(PolicyRow.id, PolicyRow.trial_number).join(JobRow)
    of_no_trial = of_jobs.outerjoin(TrialRow, pair)
    of_no_trial = of_no_trial.where(PolicyRow.trial_number.is_not(None), TrialRow.id.is_(None))
    for policy_id, number in session.execute(of_no_trial):
        yield policy_id, f"is of trial {number}, which is not stored"
    known = set(session.scalars(select(PolicyRow.id)))
    query = select(JobRow.id, JobRow.result).where(JobRow.state == JobState.SUCCEEDED)
    for job_id, result in session.execute(query):
        if result is not None and result.get("policy_id") not in known:
            yield job_id, f"its result names policy {result.get('policy_id')!r}, not stored"


RULES: dict[str, Callable[[Session], Broken]] = {
    "jobs say where they stand": _states,
    "trials are numbered without holes and add up": _trials,
    "told trials have an outcome": _outcomes,
    "asks and tells have one place each": _history,
    "events have no gaps": _events,
    "policies are of stored trials": _policies,
}
