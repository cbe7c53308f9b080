"""The truth about trials."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from automl_compress.core import (
    Asked,
    Goal,
    Measurement,
    Policy,
    Snapshot,
    Suggestion,
    Told,
    Trial,
    TrialState,
)
from automl_compress.core.canonical import digest
from automl_compress.core.errors import NotFound, TrialMismatch
from automl_compress.store import events, jobs, snapshots
from automl_compress.store.database import Database
from automl_compress.store.ids import new_id
from automl_compress.store.paging import Page, check_limit, cut
from automl_compress.store.tables import JobRow, Json, SnapshotRow, TrialRow, now

FAILED_EVALUATIONS = 1.0  # what a failed trial counts for, as in the study


class SqlTrialStore:
    """The trials of one job; the contract is core's `TrialStore`.

    Every call is one transaction. With an owner, calls raise JobTaken and store nothing once
    another execution has claimed the job.
    """

    def __init__(self, database: Database, job_id: str, owner: str | None = None) -> None:
        """Write the trials of `job_id`, as long as `owner` owns it."""
        self.database, self.job_id, self.owner = database, job_id, owner

    def asked(self, suggestion: Suggestion) -> None:
        """Store an ask; a second time with the same number and policy changes nothing.

        Raises:
            TrialMismatch: the number was asked for with another policy.
            JobTaken: another execution owns the job.
        """
        with self.database.session() as session:
            job = jobs.lock_owned(session, self.job_id, self.owner)
            existing = session.get(TrialRow, (self.job_id, suggestion.number))
            if existing is None:
                _add(session, job, suggestion)
            elif Policy.from_json(existing.policy) != suggestion.policy:
                raise TrialMismatch(
                    f"trial {suggestion.number} of job {self.job_id} was asked for with another "
                    "policy; restore the searcher from this job's history"
                )

    def told(self, trial: Trial, snapshot: Snapshot | None = None) -> None:
        """Store a tell, the searcher's state, the job's progress and an event: all or nothing.

        Raises:
            TrialMismatch: the number was not asked for, or is stored already, or the trial has
                another policy or no outcome.
            JobTaken: another execution owns the job.
        """
        with self.database.session() as session:
            job = jobs.lock_owned(session, self.job_id, self.owner)
            row = self._running(session, trial)
            row.state, row.failure, row.finished_at = trial.state, trial.failure, now()
            row.note = trial.note
            if trial.measurement is not None:
                row.measurement = trial.measurement.to_json()
                row.score = trial.score
            row.told_position = position = _next_position(job)
            if snapshot is not None:
                _keep(session, self.job_id, position, snapshots.to_bytes(snapshot))
            _count(session, job, trial)
            kind = "trial.completed" if trial.state is TrialState.COMPLETE else "trial.failed"
            events.add(session, job, kind, _summary(job, row, trial))

    def _running(self, session: Session, trial: Trial) -> TrialRow:
        row = session.get(TrialRow, (self.job_id, trial.number))
        if row is None or row.state is not TrialState.RUNNING:
            found = "was never asked for" if row is None else f"is stored as {row.state}"
            raise TrialMismatch(
                f"trial {trial.number} of job {self.job_id} {found}; "
                "tell each asked trial once, as complete or failed"
            )
        if trial.state is TrialState.RUNNING or Policy.from_json(row.policy) != trial.policy:
            raise TrialMismatch(
                f"trial {trial.number} of job {self.job_id} was told as {trial.state}, or with "
                "another policy; tell the policy that was asked, as complete or failed"
            )
        return row

    def trials(self) -> Sequence[Trial]:
        """Return every trial by number, running ones included."""
        with self.database.reading() as session:
            query = select(TrialRow).where(TrialRow.job_id == self.job_id).order_by(TrialRow.number)
            return [to_trial(row) for row in session.scalars(query)]

    def history(self) -> tuple[Snapshot | None, Sequence[Asked | Told]]:
        """Return the latest snapshot and the events since it, in order."""
        with self.database.reading() as session:
            kept = session.get(SnapshotRow, self.job_id)
            position = 0 if kept is None else kept.position
            since = or_(TrialRow.asked_position > position, TrialRow.told_position > position)
            rows = session.scalars(select(TrialRow).where(TrialRow.job_id == self.job_id, since))
            happened = [each for row in rows for each in _history_of(row) if each[0] > position]
        happened.sort(key=lambda each: each[0])
        snapshot = None if kept is None else snapshots.from_bytes(kept.content)
        return snapshot, [each for _, each in happened]


def _add(session: Session, job: JobRow, suggestion: Suggestion) -> None:
    row = TrialRow(
        job_id=job.id,
        number=suggestion.number,
        id=new_id("trl"),
        state=TrialState.RUNNING,
        policy=suggestion.policy.to_json(),
        policy_digest=policy_digest(suggestion.policy),
        note=suggestion.note,
        role=suggestion.role,
        images=suggestion.images,
        asked_position=_next_position(job),
    )
    session.add(row)
    data: Json = {"number": row.number, "trial_id": row.id, "note": row.note}
    events.add(session, job, "trial.started", data)


def policy_digest(policy: Policy) -> str:
    """Return 64 hexadecimal digits that are the same for equal policies alone."""
    return digest(policy.to_json()).removeprefix("sha256:")


def to_trial(row: TrialRow) -> Trial:
    """Return a stored trial as the library's noun."""
    measured = row.measurement
    return Trial(
        number=row.number,
        policy=Policy.from_json(row.policy),
        state=row.state,
        measurement=None if measured is None else Measurement.from_json(measured),
        failure=row.failure,
        note=row.note,
        role=row.role,
        images=row.images,
    )


def get(session: Session, trial_id: str) -> TrialRow:
    """Return a trial by its id.

    Raises:
        NotFound: no trial has this id.
    """
    row = session.scalars(select(TrialRow).where(TrialRow.id == trial_id)).one_or_none()
    if row is None:
        raise NotFound(f"no trial has the id {trial_id!r}; GET /v1/jobs/{{id}}/trials lists them")
    return row


def page(
    session: Session,
    job_id: str,
    *,
    after: int = -1,
    limit: int = 50,
    states: Sequence[TrialState] = (),
) -> Page[TrialRow]:
    """Return a job's trials by number, from the first one above `after`."""
    check_limit(limit)
    where: list[ColumnElement[bool]] = [TrialRow.job_id == job_id, TrialRow.number > after]
    if states:
        where.append(TrialRow.state.in_(states))
    query = select(TrialRow).where(*where).order_by(TrialRow.number).limit(limit + 1)
    return cut(session.scalars(query).all(), limit)


def best(session: Session, job: JobRow, count: int = 1) -> Sequence[TrialRow]:
    """Return the best complete trials by the goal of the job's study; of equal ones the first told.

    Where it has an accuracy floor, those that do not reach it are left out.
    """
    goal = Goal.of_study(job.spec["study"])
    where = [TrialRow.job_id == job.id, TrialRow.score.is_not(None)]
    order = [TrialRow.score.desc(), TrialRow.told_position]
    if goal.accuracy_floor is not None:
        where.append(TrialRow.measurement["accuracy"].as_float() >= goal.accuracy_floor)
        order.insert(0, TrialRow.measurement["cost", goal.metric].as_float())
    query = select(TrialRow).where(*where).order_by(*order).limit(count)
    return session.scalars(query).all()


def _history_of(row: TrialRow) -> list[tuple[int, Asked | Told]]:
    trial = to_trial(row)
    asked = Asked(trial.suggestion)
    happened: list[tuple[int, Asked | Told]] = [(row.asked_position, asked)]
    if row.told_position is not None:
        happened.append((row.told_position, Told(trial)))
    return happened


def _next_position(job: JobRow) -> int:
    """Return the next place in the history of a job that the caller has locked."""
    job.history_length += 1
    return job.history_length


def _keep(session: Session, job_id: str, position: int, content: bytes) -> None:
    """Store a snapshot instead of the one before, which may be large and is not read for it."""
    told = {"position": position, "content": content}
    kept = update(SnapshotRow).where(SnapshotRow.job_id == job_id).values(told)
    if not session.execute(kept.returning(SnapshotRow.position)).all():
        session.add(SnapshotRow(job_id=job_id, **told))


def _count(session: Session, job: JobRow, trial: Trial) -> None:
    job.trials_done += 1
    if trial.measurement is None:
        job.evaluations += FAILED_EVALUATIONS
        return
    job.evaluations += trial.measurement.evaluations
    if trial.score is not None and _is_best(session, job, trial.measurement):
        job.best_score, job.best_number = trial.score, trial.number


def _is_best(session: Session, job: JobRow, measurement: Measurement) -> bool:
    goal = Goal.of_study(job.spec["study"])
    if not goal.is_reached(measurement) or job.best_number is None:
        return goal.is_reached(measurement)
    earlier = session.get_one(TrialRow, (job.id, job.best_number)).measurement
    return earlier is None or goal.rank(measurement) > goal.rank(Measurement.from_json(earlier))


def _summary(job: JobRow, row: TrialRow, trial: Trial) -> Json:
    data: Json = {
        "number": row.number,
        "trial_id": row.id,
        "note": row.note,
        "role": row.role,
        "trials_done": job.trials_done,
        "evaluations": job.evaluations,
        "elapsed_seconds": job.elapsed_seconds,
        "eta_seconds": job.eta_seconds,
        "best_score": job.best_score,
        "best_number": job.best_number,
    }
    if trial.measurement is None:
        return data | {"failure": trial.failure}
    measured = trial.measurement
    return data | {
        "score": measured.score,
        "images": measured.total,
        "accuracy": measured.accuracy,
        "cost": measured.cost.to_json(),
        "wall_seconds": measured.wall_seconds,
    }
