"""Weights with one set bit: multiplying by them is a shift."""

from typing import ClassVar

import torch
from torch import Tensor

from automl_compress.compress.quantisers.grid import (
    Grid,
    QuantisedTensor,
    power_levels,
    quantise_rows,
)
from automl_compress.compress.quantisers.quantiser import Quantiser
from automl_compress.compress.quantisers.scale_search import alternating_scales
from automl_compress.compress.quantisers.sorted_rows import SortedRows

_WIDTHS = (2, 3, 4, 5, 6, 7)


class PowerOfTwo(Quantiser):
    """Zero and scale * 2^-k with both signs; b bits have 2^(b-1) - 1 powers.

    Above 5 bits little is gained: the grid grows denser around zero only. At 8 bits its
    smallest power would be no float32 any more.

    Source: Li et al., DATE 2020 (one-hot codes); the scale by alternating minimisation.
    """

    name: ClassVar[str] = "power_of_two"
    bit_widths: ClassVar[tuple[int, ...]] = _WIDTHS

    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        sorted_rows = SortedRows(rows.abs())
        starts = []
        if len(rows) > 1:
            starts = [_scales(SortedRows(rows.abs().reshape(1, -1)), bits, []).expand(len(rows))]
        stored = _scales(sorted_rows, bits, starts).float()
        scales = torch.where(stored > 0, stored, 1.0)
        return quantise_rows(rows, Grid("power_of_two", bits, scales[:, None], 0))


def one_hot_integers(codes: Tensor) -> Tensor:
    """Return the int64 integers with one set bit (and a sign) that the codes stand for; or 0.

    Times `scale * 2^(1 - top)`, where top is the grid's highest code, they are the values.
    """
    return torch.sign(codes).long() * (1 << (codes.abs().long() - 1).clamp_min(0))


def _scales(rows: SortedRows, bits: int, starts: list[Tensor]) -> Tensor:
    """Return scales (C,), growing the grid bit by bit so that it never gets worse."""
    found = list(starts)
    for width in range(_WIDTHS[0], bits + 1):
        found = [alternating_scales(rows, _levels(width, rows.values), found), *starts]
    return found[0]


def _levels(bits: int, like: Tensor) -> Tensor:
    return power_levels(2 ** (bits - 1) - 1).to(like)
