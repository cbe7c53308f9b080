"""Uniform quantisation, and five ways to choose its scale."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from automl_compress.compress.quantisers.divergence import divergence_limits
from automl_compress.compress.quantisers.grid import Grid, QuantisedTensor, quantise_rows
from automl_compress.compress.quantisers.quantiser import Quantiser
from automl_compress.compress.quantisers.scale_search import alternating_scales, scale_errors
from automl_compress.compress.quantisers.sorted_rows import SortedRows
from automl_compress.core.errors import InvalidInput

_WIDTHS = (2, 3, 4, 5, 6, 7, 8, 16)
_BLOCK = 2**22  # borders looked up at a time
_MSE_FRACTIONS = 100
_SCAN_FRACTIONS = tuple(0.2 * 5 ** (step / 11) for step in range(12))  # 0.2 to 1


@dataclass(frozen=True)
class _Uniform(Quantiser):
    """Symmetric uniform grid: code = clip(round(x / scale)).

    Attributes:
        is_signed: False for activations behind a ReLU, whose 2^b codes all stand for
            non-negative values; negative entries then become zero.
    """

    bit_widths: ClassVar[tuple[int, ...]] = _WIDTHS

    is_signed: bool = True

    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        magnitudes = rows.abs() if self.is_signed else rows.clamp_min(0)
        scales = self._scales(magnitudes, bits)
        return quantise_rows(rows, Grid("linear", bits, _stored_scales(scales), 0, self.is_signed))

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        """Choose float64 scales (C,) for magnitudes (C, N)."""
        raise NotImplementedError

    def _levels(self, bits: int, like: Tensor) -> Tensor:
        top = 2 ** (bits - self.is_signed) - 1
        return torch.arange(top + 1, dtype=torch.float64, device=like.device)

    def _in_blocks(
        self, magnitudes: Tensor, bits: int, choose: Callable[[SortedRows], Tensor]
    ) -> Tensor:
        """Sort and choose for a few rows at a time, so that many levels do not fill memory."""
        size = max(1, _BLOCK >> bits)
        return torch.cat([choose(SortedRows(block)) for block in magnitudes.split(size)])


class IterativeUniform(_Uniform):
    """The scale of smallest squared error, by alternating minimisation.

    Source: MicroNet Challenge 2019, the entry of Wang et al.; see `alternating_scales`.
    """

    name: ClassVar[str] = "uniform"

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        whole: Tensor | None = None
        if len(magnitudes) > 1:
            whole = self._scales(magnitudes.reshape(1, -1), bits)

        def choose(rows: SortedRows) -> Tensor:
            starts = [] if whole is None else [whole.expand(len(rows.values))]
            scales = alternating_scales(rows, self._levels(_WIDTHS[0], magnitudes), starts)
            for width in _WIDTHS[1 : _WIDTHS.index(bits) + 1]:
                levels = self._levels(width, magnitudes)
                scales = alternating_scales(rows, levels, [scales, scales / 2, *starts])
            return scales

        return self._in_blocks(magnitudes, bits, choose)


class MaximumUniform(_Uniform):
    """Round to nearest: the largest magnitude is the grid's end, nothing is clipped."""

    name: ClassVar[str] = "max"
    minimises_error: ClassVar[bool] = False

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        return _ending_at(magnitudes.amax(1), self._levels(bits, magnitudes))


@dataclass(frozen=True)
class PercentileUniform(_Uniform):
    """A percentile of the magnitudes is the grid's end; what lies beyond is clipped.

    Attributes:
        percentile: above 0, to 100, which is the largest magnitude.
    """

    name: ClassVar[str] = "percentile"
    minimises_error: ClassVar[bool] = False

    percentile: float = 99.9

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for a percentile out of range."""
        if not 0 < self.percentile <= 100:
            raise InvalidInput(f"percentile is {self.percentile!r}; give a number above 0, to 100")

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        entries = magnitudes.shape[1]
        # kthvalue rather than quantile, which refuses more than 16 M entries.
        place = max(1, round(self.percentile / 100 * entries))
        limits = magnitudes.kthvalue(place, dim=1).values
        limits = torch.where(limits > 0, limits, magnitudes.amax(1))
        return _ending_at(limits, self._levels(bits, magnitudes))


class MseUniform(_Uniform):
    """The grid's end of smallest squared error among 100 fractions of the largest magnitude.

    At 16 bits clipping gains nothing, and the largest magnitude itself is taken.
    """

    name: ClassVar[str] = "mse"
    minimises_error: ClassVar[bool] = False

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        levels = self._levels(bits, magnitudes)
        if bits == _WIDTHS[-1]:
            return _ending_at(magnitudes.amax(1), levels)

        def choose(rows: SortedRows) -> Tensor:
            tried = [
                _ending_at(rows.largest * step / _MSE_FRACTIONS, levels)
                for step in range(1, _MSE_FRACTIONS + 1)
            ]
            errors = torch.stack([scale_errors(rows, levels, each) for each in tried])
            return torch.stack(tried).gather(0, errors.argmin(0, keepdim=True))[0]

        return self._in_blocks(magnitudes, bits, choose)


class ScanUniform(_Uniform):
    """The grid's end of smallest squared error among 12 fractions of the largest magnitude.

    Some fifteen times as fast as `mse`, with an error some percent above: made for searches and
    training, which quantise other weights every time.
    """

    name: ClassVar[str] = "scan"
    minimises_error: ClassVar[bool] = False

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        top = 2 ** (bits - self.is_signed) - 1
        rows, largest = magnitudes.float(), magnitudes.amax(1)
        best = torch.full_like(largest, torch.inf)
        found = torch.ones_like(largest)
        for fraction in _SCAN_FRACTIONS if bits < _WIDTHS[-1] else _SCAN_FRACTIONS[-1:]:
            scales = torch.where(largest > 0, largest * fraction / top, 1.0)
            step = scales.float()[:, None]
            rounded = (rows / step).round_().clamp_max_(top).mul_(step).sub_(rows)
            errors = rounded.square_().sum(1, dtype=torch.float64)
            found = torch.where(errors < best, scales, found)
            best = torch.minimum(errors, best)
        return found


class DivergenceUniform(_Uniform):
    """The grid's end whose quantised histogram diverges least from the original one.

    Source: Migacz, "8-bit inference with TensorRT", GTC 2017; see `divergence_limits`.
    """

    name: ClassVar[str] = "kl"
    minimises_error: ClassVar[bool] = False

    def _scales(self, magnitudes: Tensor, bits: int) -> Tensor:
        levels = self._levels(bits, magnitudes)
        return _ending_at(divergence_limits(magnitudes, len(levels)), levels)


def _ending_at(limits: Tensor, levels: Tensor) -> Tensor:
    """Return the scales (C,) with which the grids end at `limits`; 1 for rows of zeros."""
    return torch.where(limits > 0, limits / levels[-1], 1.0)


def _stored_scales(scales: Tensor) -> Tensor:
    """Return float32 (C, 1); a scale that is zero in float32 becomes 1, and all its codes 0."""
    stored = scales.float()
    return torch.where(stored > 0, stored, 1.0)[:, None]
