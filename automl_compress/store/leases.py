"""Which worker processes are alive. No clock is compared between machines: beats are counted."""

from collections.abc import Sequence

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from automl_compress.store.tables import LeaseRow, now


def register(session: Session, owner: str, host: str) -> LeaseRow:
    """Add a worker process."""
    row = LeaseRow(owner=owner, host=host)
    session.add(row)
    session.flush()
    return row


def renew(session: Session, owner: str) -> bool:
    """Count one more beat; False when another worker has declared this one dead."""
    alive = (LeaseRow.owner == owner, LeaseRow.reaped_by.is_(None))
    values = {"beats": LeaseRow.beats + 1, "renewed_at": now()}
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
