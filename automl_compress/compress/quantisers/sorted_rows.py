"""Sums over intervals of sorted entries: an error on any grid without a pass over the tensor."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Intervals:
    """Number, sum and sum of squares of the entries between neighbouring borders, (C, K) each."""

    counts: Tensor
    sums: Tensor
    squares: Tensor

    def error(self, values: Tensor) -> Tensor:
        """Return the squared error (C,) when each interval's entries become `values` (C, K)."""
        return (self.squares - 2 * values * self.sums + values.square() * self.counts).sum(1)


class SortedRows:
    """Rows (C, N) in ascending order with running sums; float64.

    One look at K intervals costs K binary searches in each row instead of N operations, so that
    dozens of grids can be tried.
    """

    def __init__(self, rows: Tensor) -> None:
        """Sort `rows`."""
        self.values = rows.sort(dim=1).values
        self._sums = F.pad(self.values.cumsum(1), (1, 0))
        self._squares = F.pad(self.values.square().cumsum(1), (1, 0))

    @property
    def largest(self) -> Tensor:
        """The largest entry of each row, (C,)."""
        return self.values[:, -1]

    def places(self, borders: Tensor) -> Tensor:
        """Return where the K - 1 ascending borders (C, K - 1) cut the rows: (C, K + 1)."""
        inner = torch.searchsorted(self.values, borders.contiguous())
        return F.pad(F.pad(inner, (1, 0)), (0, 1), value=self.values.shape[1])

    def intervals(self, borders: Tensor) -> Intervals:
        """Sum up what lies between ascending borders (C, K - 1)."""
        places = self.places(borders)
        return Intervals(
            places.diff(dim=1).to(self.values.dtype),
            self._sums.gather(1, places).diff(dim=1),
            self._squares.gather(1, places).diff(dim=1),
        )
