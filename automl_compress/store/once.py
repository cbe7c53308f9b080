"""Rows that a request makes once, however often it is sent."""

from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from automl_compress.core.errors import KeyReused
from automl_compress.store.accounts import account_of
from automl_compress.store.key_tables import KeyRow
from automl_compress.store.tables import DatasetRow, ModelRow
from automl_compress.store.target_table import TargetRow

Row = TypeVar("Row", ModelRow, DatasetRow, TargetRow)


@dataclass(frozen=True, slots=True)
class Request:
    """What tells a repeated request from another one.

    idempotency_key: that the client chose; None makes a row for every request.
    digest: of the whole body.
    """

    idempotency_key: str | None = None
    digest: str | None = None


UNKEYED = Request()


def made_by(session: Session, table: type[Row], request: Request) -> Row | None:
    """Return the row that the same request made before, where there is one.

    Raises:
        KeyReused: the key was used with another body.
    """
    if request.idempotency_key is None:
        return None
    row = session.scalars(
        select(table).where(
            table.idempotency_key == request.idempotency_key,
            table.account == account_of(session).name,
        )
    ).one_or_none()
    check_same(row, request)
    return row


def check_same(row: Row | KeyRow | None, request: Request) -> None:
    """Refuse a row that another request made under the same idempotency key; raises KeyReused."""
    if row is not None and row.request_digest != request.digest:
        raise KeyReused(
            f"the idempotency key {request.idempotency_key!r} belongs to {row.id}, which another "
            "request made; send a new key with a new request"
        )


def add(session: Session, row: Row, request: Request) -> Row:
    """Store a row, or return the one that the same request made in the meantime.

    Raises:
        KeyReused: the key was used with another body.
    """
    row.idempotency_key, row.request_digest = request.idempotency_key, request.digest
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        existing = made_by(session, type(row), request)
        if existing is None:
            raise
        return existing
    return row
