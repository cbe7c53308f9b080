"""Bit-split and stitching: integer weights found one bit plane at a time."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from automl_compress.compress.quantisers.grid import Grid, QuantisedTensor
from automl_compress.compress.quantisers.quantiser import Quantiser
from automl_compress.compress.quantisers.uniform import IterativeUniform, MaximumUniform
from automl_compress.core.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class BitSplit(Quantiser):
    """Uniform codes that keep a layer's response rather than its weights.

    A signed code of b bits is the sum of b - 1 ternary planes, `sum of plane[m] * 2^m`. With
    the second moments A of the layer's inputs, the error of the response is (w - v) A (w - v)
    for weights w and their quantised values v. It falls from the better of two starts, the
    iterative scale's codes and round-to-nearest, by exact minimisation of one plane's entry at
    a time and of the scale. Without moments the error is that of the weights, for which the
    iterative scale's codes are best already.

    Attributes:
        moments: sum over calibration examples of x x^T, (D, D), or (groups, D, D) for
            convolutions in groups, where D is the number of weights of one output channel.
        rounds: over all planes and entries, at most.

    Source: Wang et al., "Towards accurate post-training network quantization via bit-split and
    stitching", ICML 2020, sections 3.2 and 3.3.
    """

    name: ClassVar[str] = "bit_split"
    bit_widths: ClassVar[tuple[int, ...]] = (3, 4, 5, 6, 7, 8)

    moments: Tensor | None = None
    rounds: int = 10

    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        start = IterativeUniform().fit(rows, bits, 0)
        if self.moments is None:
            return start
        moments = self._moments_of_rows(rows)
        search = _PlaneSearch(rows, moments, bits)
        nearest = MaximumUniform().fit(rows, bits, 0)
        codes, scales = search.better(start, nearest)
        for _ in range(self.rounds):
            before = codes
            codes = search.improved(codes, scales)
            scales = search.fitted_scales(codes, scales)
            if torch.equal(codes, before):
                break
        values = scales.float()[:, None]
        return QuantisedTensor(codes.to(torch.int32), Grid("linear", bits, values, 0))

    def _moments_of_rows(self, rows: Tensor) -> Tensor:
        """Return float64 (groups, D, D) after checking them against rows (C, D)."""
        assert self.moments is not None
        moments = self.moments.to(rows)
        moments = moments[None] if moments.ndim == 2 else moments
        channels, entries = rows.shape
        fits = moments.ndim == 3 and tuple(moments.shape[1:]) == (entries, entries)
        if not fits or channels % len(moments):
            raise InvalidInput(
                f"moments have shape {tuple(self.moments.shape)}, the weight has {channels} "
                f"channels of {entries} entries; fit per channel (axis 0) with moments "
                f"({entries}, {entries}), or (groups, {entries}, {entries})"
            )
        if not bool(torch.isfinite(moments).all()):
            raise InvalidInput("moments hold NaN or infinity; calibrate on finite activations")
        return moments


def bit_planes(codes: Tensor, bits: int) -> Tensor:
    """Split signed codes into b - 1 ternary planes; (b - 1, ...), the least significant first."""
    shifts = torch.arange(bits - 1, device=codes.device).reshape(-1, *[1] * codes.ndim)
    return torch.sign(codes) * ((codes.abs() >> shifts) & 1)


def stitch(planes: Tensor) -> Tensor:
    """Undo `bit_planes`."""
    weights = 1 << torch.arange(len(planes), device=planes.device)
    return (planes * weights.reshape(-1, *[1] * (planes.ndim - 1))).sum(0).to(planes.dtype)


class _PlaneSearch:
    """Coordinate descent on the response error of rows (G, C/G, D)."""

    def __init__(self, rows: Tensor, moments: Tensor, bits: int) -> None:
        self._shape = rows.shape
        self._rows = rows.reshape(len(moments), -1, rows.shape[1])
        self._moments, self._bits = moments, bits

    def better(self, first: QuantisedTensor, second: QuantisedTensor) -> tuple[Tensor, Tensor]:
        """Return codes and scales (C,) of the start with the smaller error in each row."""
        errors = [self._error(each.dequantise().double()) for each in (first, second)]
        wins = errors[0] <= errors[1]
        codes = torch.where(wins[:, None], first.codes, second.codes)
        scales = torch.where(wins, first.grid.values[:, 0], second.grid.values[:, 0])
        return codes.long(), scales.double()

    def improved(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Minimise over each plane's entries in turn, the most significant plane first."""
        planes = bit_planes(codes, self._bits).reshape(-1, *self._rows.shape)
        steps = scales.reshape(len(self._moments), -1)
        values = stitch(planes).double() * steps[..., None]
        slopes = (self._rows - values) @ self._moments  # minus half the error's gradient
        for plane in reversed(range(self._bits - 1)):
            for entry in range(self._rows.shape[2]):
                self._choose(planes[plane], entry, steps * 2**plane, slopes)
        return stitch(planes).reshape(self._shape)

    def _choose(self, plane: Tensor, entry: int, steps: Tensor, slopes: Tensor) -> None:
        """Set one entry of a plane (G, C/G, D) to the best of -1, 0, 1, in place."""
        curvatures = self._moments[:, entry, entry, None]
        if not bool((curvatures > 0).any()):
            return  # an input that is always zero
        before = plane[..., entry].double()
        wanted = before + slopes[..., entry] / (curvatures.clamp_min(1e-300) * steps)
        after = torch.where(curvatures > 0, wanted.round().clamp(-1, 1), before)
        slopes -= ((after - before) * steps)[..., None] * self._moments[:, entry, None, :]
        plane[..., entry] = after.to(plane.dtype)

    def fitted_scales(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Return the best scales (C,) for these codes."""
        q = codes.double().reshape(self._rows.shape)
        seen = q @ self._moments
        products, squares = (self._rows * seen).sum(2), (q * seen).sum(2)
        fitted = (products / squares.clamp_min(1e-300)).reshape(-1)
        return torch.where((squares.reshape(-1) > 0) & (fitted > 0), fitted, scales)

    def _error(self, values: Tensor) -> Tensor:
        lost = self._rows - values.reshape(self._rows.shape)
        return ((lost @ self._moments) * lost).sum(2).reshape(-1)
