"""Lists: one page, whether more follows, and the address of the next one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel

from automl_compress.store.paging import LARGEST_PAGE

Element = TypeVar("Element", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Elements on one page.")]
After = Annotated[str | None, Query(max_length=64, description="The id of the last one seen.")]


class Listing(BaseModel, Generic[Element]):
    """One page of a list."""

    data: Sequence[Element]
    has_more: bool
    next: str | None = None


def listing(
    elements: Sequence[Element],
    has_more: bool,
    path: str,
    cursor: str | int | None,
    filters: Mapping[str, Any],
) -> Listing[Element]:
    """Make a page.

    Args:
        elements: of this page.
        has_more: whether another page follows.
        path: of the list.
        cursor: what the next page comes after.
        filters: query parameters that the next page keeps; those of None are left out.
    """
    kept = {name: value for name, value in filters.items() if value is not None}
    following = f"{path}?{urlencode({**kept, 'after': cursor})}" if has_more else None
    return Listing(data=elements, has_more=has_more, next=following)
