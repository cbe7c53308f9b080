"""Binary and ternary weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from automl_compress.compress.quantisers.grid import Grid, QuantisedTensor, quantise_rows
from automl_compress.compress.quantisers.quantiser import Quantiser
from automl_compress.core.errors import InvalidInput


class Binary(Quantiser):
    """Plus or minus one scale: the mean magnitude, which has the smallest squared error.

    Source: Rastegari et al., "XNOR-Net", ECCV 2016, section 3.1. Zero becomes plus.
    """

    name: ClassVar[str] = "binary"
    bit_widths: ClassVar[tuple[int, ...]] = (1,)

    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        scales = rows.abs().mean(1, keepdim=True).float()
        return quantise_rows(rows, Grid("sign", bits, scales, 0))


@dataclass(frozen=True)
class Ternary(Quantiser):
    """Minus, zero or plus one scale: the mean magnitude of what lies above a threshold.

    Attributes:
        threshold_factor: the threshold as a multiple of the mean magnitude; 0.7 is that of Li
            and Liu, "Ternary weight networks", 2016, equation 6. None looks through all
            thresholds and takes that of the smallest squared error.
    """

    name: ClassVar[str] = "ternary"
    bit_widths: ClassVar[tuple[int, ...]] = (2,)

    threshold_factor: float | None = None

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for a factor that is no number from 0 up."""
        if self.threshold_factor is not None and not 0 <= self.threshold_factor < float("inf"):
            raise InvalidInput(
                f"threshold_factor is {self.threshold_factor!r}; give a number from 0, or None"
            )

    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        if self.threshold_factor is None:
            scales = _best_scales(rows)
            grid = Grid("linear", bits, scales, 0)
            # The best threshold is half the scale: nearest values are the best codes.
            return quantise_rows(rows, grid)
        threshold = self.threshold_factor * rows.abs().mean(1, keepdim=True)
        above = rows.abs() > threshold
        sums, counts = (rows.abs() * above).sum(1, keepdim=True), above.sum(1, keepdim=True)
        scales = _nonzero(sums / counts.clamp_min(1))
        codes = (torch.sign(rows) * above).to(torch.int32)
        return QuantisedTensor(codes, Grid("linear", bits, scales, 0))


def _best_scales(rows: Tensor) -> Tensor:
    """Return the scales (C, 1) of smallest squared error.

    With the k largest magnitudes kept, the best scale is their mean and the error falls by
    (their sum)^2 / k; all k are compared.
    """
    sums = rows.abs().sort(dim=1, descending=True).values.cumsum(1)
    counts = torch.arange(1, rows.shape[1] + 1, dtype=rows.dtype, device=rows.device)
    best = (sums.square() / counts).argmax(1, keepdim=True)
    return _nonzero(sums.gather(1, best) / (best + 1))


def _nonzero(scales: Tensor) -> Tensor:
    """Return float32 scales, 1 for rows of zeros."""
    stored = scales.float()
    return torch.where(stored > 0, stored, 1.0)
