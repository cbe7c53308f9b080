"""A table of results that are dear to compute, kept within a number of bytes."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Tabulation(Generic[Value]):
    """Remembers values by key; the oldest go when they would take more than `limit_bytes`.

    A search of some hundred trials on a wide network solves more layers than memory holds.
    """

    def __init__(self, limit_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._limit_bytes, self._size_of = limit_bytes, size_of
        self._values: dict[Hashable, Value] = {}
        self._bytes = 0

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of this key, computed where it is not in the table."""
        if key in self._values:
            return self._values[key]
        value = compute()
        self._bytes += self._size_of(value)
        while self._values and self._bytes > self._limit_bytes:
            oldest = next(iter(self._values))
            self._bytes -= self._size_of(self._values.pop(oldest))
        self._values[key] = value
        return value
