"""Pages of rows behind a cursor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from automl_compress.core.errors import InvalidInput
from automl_compress.store.tables import Table

Row = TypeVar("Row", bound=Table)
LARGEST_PAGE = 200


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and whether more follow; the cursor is the last row's key."""

    rows: Sequence[Row]
    has_more: bool


def page_of(
    session: Session,
    table: type[Row],
    key: InstrumentedAttribute[str],
    where: Sequence[ColumnElement[bool]],
    *,
    after: str | None,
    limit: int,
) -> Page[Row]:
    """Return rows by falling `key`, which is the newest first, behind the key `after`.

    Raises:
        InvalidInput: the limit is out of range.
    """
    check_limit(limit)
    query = select(table).where(*where).order_by(key.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(key < after)
    return cut(session.scalars(query).all(), limit)


def check_limit(limit: int) -> None:
    """Refuse limits out of range, with InvalidInput."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidInput(f"the limit is {limit}; give 1 to {LARGEST_PAGE}")


def cut(rows: Sequence[Row], limit: int) -> Page[Row]:
    """Make a page of `limit` rows out of up to one more."""
    return Page(rows[:limit], has_more=len(rows) > limit)
