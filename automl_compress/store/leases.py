"""Which worker processes are alive. No clock is compared between machines: beats are counted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from automl_compress.store.tables import LeaseRow, now


def register(
    session: Session,
    owner: str,
    host: str,
    process_id: int | None = None,
    version: str | None = None,
    gpu: str | None = None,
) -> LeaseRow:
    """Add a worker process of a version of this project, with a GPU or without."""
    row = LeaseRow(owner=owner, host=host, process_id=process_id, version=version, gpu=gpu)
    row.started_at = now()
    session.add(row)
    session.flush()
    return row


def renew(
    session: Session,
    owner: str,
    clock_ahead_seconds: float | None = None,
    trouble: str | None = None,
) -> bool:
    """Count one more beat; False when another worker has declared this one dead.

    Args:
        session: a transaction.
        owner: the worker.
        clock_ahead_seconds: of its clock, against the database's.
        trouble: what keeps it from its work, in words.
    """
    alive = (LeaseRow.owner == owner, LeaseRow.reaped_by.is_(None))
    values = {
        "beats": LeaseRow.beats + 1,
        "renewed_at": now(),
        "clock_ahead_seconds": clock_ahead_seconds,
        "trouble": trouble,
    }
    beaten = update(LeaseRow).where(*alive).values(values).returning(LeaseRow.owner)
    return session.scalar(beaten.execution_options(synchronize_session=False)) is not None


def every(session: Session) -> Sequence[LeaseRow]:
    """Return every worker that was not removed yet."""
    return session.scalars(select(LeaseRow).order_by(LeaseRow.owner)).all()


def take_over(session: Session, dead: LeaseRow, reaper: str) -> bool:
    """Elect `reaper` to move a dead worker's jobs; False when it beat, or another one does it.

    A worker that another reaper took over, and then died itself, may be taken over again.
    """
    alive = select(LeaseRow.owner).where(LeaseRow.reaped_by.is_(None))
    taken = (
        update(LeaseRow)
        .where(
            LeaseRow.owner == dead.owner,
            LeaseRow.beats == dead.beats,
            or_(LeaseRow.reaped_by.is_(None), LeaseRow.reaped_by.not_in(alive)),
        )
        .values(reaped_by=reaper)
        .returning(LeaseRow.owner)
    )
    return session.scalar(taken.execution_options(synchronize_session=False)) is not None


def remove(session: Session, owner: str) -> None:
    """Forget a worker that ended, or whose jobs were moved."""
    session.execute(delete(LeaseRow).where(LeaseRow.owner == owner))


def database_now(session: Session) -> datetime:
    """Return the time by the database's clock, which for a file of ours is this machine's."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    told: datetime = session.scalars(select(func.clock_timestamp())).one()
    return told.astimezone(UTC)


def clock_ahead_seconds(session: Session) -> float:
    """Return how far this process's clock is ahead of the database's.

    Asking takes a moment, and so much is what the answer may be wrong by.
    """
    told = database_now(session)
    return (now() - told).total_seconds()


def silent_seconds(row: LeaseRow, at: datetime) -> float:
    """Return for how long a worker has given no sign of life.

    Args:
        row: the worker, which beat by its own clock.
        at: the time by the database's clock.
    """
    beaten_at = row.renewed_at - timedelta(seconds=row.clock_ahead_seconds or 0.0)
    return (at - beaten_at).total_seconds()
