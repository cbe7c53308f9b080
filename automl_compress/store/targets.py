"""Targets: what layers take on an engine and a processor, measured here or brought."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store import once
from automl_compress.store.ids import new_id
from automl_compress.store.paging import Page, page_of
from automl_compress.store.table import Json
from automl_compress.store.target_table import TargetRow


def add(
    session: Session,
    *,
    name: str,
    latency_table: Json,
    graph_fingerprint: str | None = None,
    account: str | None = None,
    request: once.Request = once.UNKEYED,
) -> TargetRow:
    """Store a target, or return the one that the same request made.

    Args:
        session: the transaction.
        name: for people.
        latency_table: as `LatencyTable.to_json` writes it.
        graph_fingerprint: of the network that it was measured for, where that is known.
        account: whose it is; None for the session's.
        request: that makes it.

    Raises:
        KeyReused: the request's key was used with another body.
    """
    row = TargetRow(
        id=new_id("tgt"),
        name=name,
        engine=latency_table["target"],
        processor=latency_table["processor"],
        engine_version=latency_table["engine_version"],
        batch=latency_table["batch"],
        graph_fingerprint=graph_fingerprint,
        latency_table=latency_table,
    )
    if account is not None:
        row.account = account
    return once.add(session, row, request)


def get(session: Session, target_id: str) -> TargetRow:
    """Return a target.

    Raises:
        NotFound: no target has this id.
    """
    row = session.get(TargetRow, target_id)
    if row is None:
        raise NotFound(f"no target has the id {target_id!r}; GET /v1/targets lists them")
    return row


def page(session: Session, *, after: str | None = None, limit: int = 50) -> Page[TargetRow]:
    """Return targets, the newest first, behind the target `after`."""
    return page_of(session, TargetRow, TargetRow.id, [], after=after, limit=limit)


def measured_for(
    session: Session, account: str, graph_fingerprint: str, engine: str, batch: int
) -> Sequence[TargetRow]:
    """Return an account's targets for one network, the newest first."""
    query = select(TargetRow).where(
        TargetRow.account == account,
        TargetRow.graph_fingerprint == graph_fingerprint,
        TargetRow.engine == engine,
        TargetRow.batch == batch,
    )
    return session.scalars(query.order_by(TargetRow.id.desc())).all()
