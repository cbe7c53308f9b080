"""How long the bytes of what jobs made are kept.

Networks take the room and can be made again, by a copy of their job; what is known of them is
small, and stays for as long as the job: policy documents, cards, reports, trials, events.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from automl_compress.store.moments import now
from automl_compress.store.tables import ArtifactRow

KEPT_KINDS = ("policy", "card", "report")


def removal_moment(row: ArtifactRow, days: float | None) -> datetime | None:
    """Return when an artifact's bytes go; None for never, or where they are gone.

    Args:
        row: the artifact's.
        days: for which the operator keeps networks; None for ever.
    """
    if days is None or row.kind in KEPT_KINDS or row.removed_at is not None:
        return None
    return row.created_at + timedelta(days=days)


def overdue(session: Session, days: float, limit: int = 100) -> Sequence[tuple[str, str]]:
    """Return id and path of artifacts whose bytes are to go, the oldest first."""
    query = select(ArtifactRow.id, ArtifactRow.path).where(
        ArtifactRow.removed_at.is_(None),
        ArtifactRow.kind.not_in(KEPT_KINDS),
        ArtifactRow.created_at <= now() - timedelta(days=days),
    )
    found = session.execute(query.order_by(ArtifactRow.id).limit(limit))
    return [(artifact_id, path) for artifact_id, path in found]


def note_removed(session: Session, artifact_ids: Sequence[str]) -> None:
    """Write down that the bytes of artifacts are gone."""
    gone = update(ArtifactRow).where(ArtifactRow.id.in_(artifact_ids))
    session.execute(gone.values(removed_at=now()))
