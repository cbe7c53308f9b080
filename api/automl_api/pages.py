"""Lists: one page, whether more follows, and the address of the next one."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel

from automl_compress.store.paging import LARGEST_PAGE, Page
from automl_compress.store.tables import Table

Element = TypeVar("Element", bound=BaseModel)
Row = TypeVar("Row", bound=Table)

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Elements on one page.")]
After = Annotated[str | None, Query(max_length=64, description="The id of the last one seen.")]

Text = Annotated[str, Query(max_length=200, description="A part of the name, in any case.")]


class Listing(BaseModel, Generic[Element]):
    """One page of a list."""

    data: list[Element]  # a Sequence is written several times as slowly
    has_more: bool
    next: str | None = None


def listing(
    page: Page[Row],
    body: Callable[[Row], Element],
    path: str,
    filters: Mapping[str, Any],
    *,
    key: str = "id",
) -> Listing[Element]:
    """Make a page of bodies from a page of rows.

    Args:
        page: of rows.
        body: makes an element from a row.
        path: of the list.
        filters: query parameters that the next page keeps; those of None are left out.
        key: the row's attribute that the next page comes after.
    """
    following = None
    if page.has_more:
        kept = {name: value for name, value in filters.items() if value is not None}
        following = (
            f"{path}?{urlencode({**kept, 'after': getattr(page.rows[-1], key)}, doseq=True)}"
        )
    data = [body(row) for row in page.rows]
    return Listing(data=data, has_more=page.has_more, next=following)
