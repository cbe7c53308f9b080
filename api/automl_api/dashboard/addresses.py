"""Addresses of the same page with another part of its table."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True)
class Addresses:
    """Addresses of a table that is sorted by a column.

    kept: what else the address tells, and goes on telling.
    """

    column: str
    is_falling: bool
    kept: Mapping[str, str | int]

    def sorted_by(self, column: str) -> str:
        """Sort by a column, by the one that it is sorted by in the other direction."""
        return self._address(column, column != self.column or not self.is_falling, 1)

    def page(self, number: int) -> str:
        """Go to another page."""
        return self._address(self.column, self.is_falling, number)

    def _address(self, column: str, is_falling: bool, number: int) -> str:
        order = "desc" if is_falling else "asc"
        return f"?{urlencode({'sort': column, 'order': order, 'page': number, **self.kept})}"
