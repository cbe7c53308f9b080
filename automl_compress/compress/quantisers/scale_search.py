"""The scale of smallest squared error, by alternating minimisation from several starts."""

from collections.abc import Iterable

import torch
from torch import Tensor

from automl_compress.compress.quantisers.sorted_rows import SortedRows

_ROUNDS = 30
_FEW_LEVELS = 256  # above it one round costs more than it gains
# On coarse grids one outlier can hide the best scale far below the largest magnitude; they are
# cheap to try. Finer grids also start from what the coarser one found.
_COARSE_LEVELS = 8
_COARSE_FRACTIONS = tuple(0.8**step for step in range(30))
_FRACTIONS = (1.0, 0.92, 0.85, 0.77, 0.7, 0.62, 0.55, 0.45, 0.35, 0.25)


def alternating_scales(
    rows: SortedRows, levels: Tensor, other_starts: Iterable[Tensor] = ()
) -> Tensor:
    """Minimise the squared error of sorted, non-negative rows on the grid scale * levels.

    Alternates between the nearest level of each entry and the scale that fits these levels
    best, `<x, q> / <q, q>`, until nothing changes.

    Args:
        rows: magnitudes.
        levels: float64 (K,), ascending from 0, the largest one is the grid's end.
        other_starts: scales (C,) to try beside fractions of the largest magnitude.

    Returns:
        float64 (C,); 1 for rows of zeros.

    Source: the MicroNet Challenge 2019 entry of Wang et al. starts at the largest magnitude
    alone. The best of several starts is never worse, and with a coarser grid's scale among them
    the error cannot grow with bits.
    """
    largest = rows.largest / levels[-1]
    fractions = _COARSE_FRACTIONS if len(levels) <= _COARSE_LEVELS else _FRACTIONS
    starts = [largest * fraction for fraction in fractions]
    scales, errors = largest, scale_errors(rows, levels, largest)
    for start in [*starts[1:], *other_starts]:
        scales, errors = _better(rows, levels, scales, errors, start)
    for _ in range(_ROUNDS if len(levels) <= _FEW_LEVELS else 1):
        before = scales
        scales, errors = _better(rows, levels, scales, errors, fitted_scales(rows, levels, scales))
        if torch.equal(scales, before):
            break
    return torch.where(rows.largest > 0, scales, 1.0)


def scale_errors(rows: SortedRows, levels: Tensor, scales: Tensor) -> Tensor:
    """Return the squared error (C,) of the nearest values on the grid scale * levels."""
    return rows.intervals(_borders(levels, scales)).error(scales[:, None] * levels)


def fitted_scales(rows: SortedRows, levels: Tensor, scales: Tensor) -> Tensor:
    """Return the best scales (C,) for the levels that are nearest under `scales`."""
    within = rows.intervals(_borders(levels, scales))
    products, squares = within.sums @ levels, within.counts @ levels.square()
    return torch.where(squares > 0, products / squares.clamp_min(1e-300), scales)


def _borders(levels: Tensor, scales: Tensor) -> Tensor:
    return scales[:, None] * ((levels[1:] + levels[:-1]) / 2)


def _better(
    rows: SortedRows, levels: Tensor, scales: Tensor, errors: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    other_errors = scale_errors(rows, levels, others)
    wins = other_errors < errors
    return torch.where(wins, others, scales), torch.where(wins, other_errors, errors)
