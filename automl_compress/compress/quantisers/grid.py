"""What a quantised tensor consists of: integer codes, and the grid that gives them values."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from automl_compress.core.errors import DataInvalid, InvalidInput

GridForm = Literal["linear", "sign", "power_of_two", "codebook"]
_VALUE_BITS = 32  # scales and codebooks are stored as float32


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that a tensor's entries may take, and the integer code of each.

    ============== ================================= ====================================
    form           codes                             value of a code in channel c
    ============== ================================= ====================================
    linear         -(2^(b-1) - 1) to 2^(b-1) - 1     code * scale[c]
    ... unsigned   0 to 2^b - 1                      code * scale[c]
    sign           -1 and 1                          code * scale[c]
    power_of_two   as linear, signed                 0, or sign * scale[c] * 2^(|code| - top)
    codebook       0 to 2^b - 1                      codebook[c, code]
    ============== ================================= ====================================

    Attributes:
        form: how a code becomes a value.
        bits: b, of one code.
        values: float32 (C, 1), the scales, or (C, 2^b), the codebooks, ascending.
        axis: the tensor's axis of the C channels; None, with C = 1, is one grid for all.
        is_signed: False for linear grids of tensors without negative entries.
    """

    form: GridForm
    bits: int
    values: Tensor
    axis: int | None = None
    is_signed: bool = True

    def __post_init__(self) -> None:
        """Raise `InvalidInput` unless form, bits and values fit each other."""
        if self.form not in get_args(GridForm):
            raise InvalidInput(f"{self.form!r} is no grid; use one of {get_args(GridForm)}")
        columns = 2**self.bits if self.form == "codebook" else 1
        shape = tuple(self.values.shape)
        if len(shape) != 2 or shape[1] != columns or (self.axis is None and shape[0] != 1):
            raise InvalidInput(
                f"a {self.form} grid of {self.bits} bits got values of shape {shape}; give "
                f"({'1' if self.axis is None else 'channels'}, {columns})"
            )

    @property
    def lowest(self) -> int:
        """The smallest code."""
        return 0 if self.form == "codebook" or not self.is_signed else -self.highest

    @property
    def highest(self) -> int:
        """The largest code."""
        if self.form == "sign":
            return 1
        if self.form == "codebook" or not self.is_signed:
            return 2**self.bits - 1
        return 2 ** (self.bits - 1) - 1

    @property
    def stored_bits(self) -> int:
        """What the scales or codebooks take in float32."""
        return self.values.numel() * _VALUE_BITS

    def encode(self, tensor: Tensor) -> Tensor:
        """Return the int32 code of the grid value nearest to each entry.

        Raises:
            InvalidInput: the tensor has another number of channels.
            DataInvalid: it holds NaN.
        """
        if bool(torch.isnan(tensor).any()):
            raise DataInvalid("the tensor holds NaN, which no code stands for; remove it first")
        tensor = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))
        self._check_channels(tensor)
        if self.form == "codebook":
            return self._nearest_entry(tensor)
        scales = self._spread(self.values[:, 0], tensor).to(tensor.dtype)
        if self.form == "sign":
            return torch.where((tensor < 0) & (scales > 0), -1, 1).to(torch.int32)
        # A scale of zero stands for a channel of zeros.
        ratios = torch.where(scales > 0, tensor / scales, torch.zeros_like(tensor))
        if self.form == "power_of_two":
            return nearest_power_codes(ratios, self.highest)
        return ratios.round().clamp(self.lowest, self.highest).to(torch.int32)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the float32 value of each code.

        Raises:
            InvalidInput: a code is out of range, or there is another number of channels.
        """
        self._check_channels(codes)
        self._check_range(codes)
        if self.form == "codebook":
            return self._entries(codes)
        scales = self._spread(self.values[:, 0], codes)
        if self.form != "power_of_two":
            return codes * scales
        powers = power_levels(self.highest).to(scales)
        return torch.sign(codes) * scales * powers[codes.abs().long()]

    def _check_channels(self, tensor: Tensor) -> None:
        if self.axis is None:
            return
        if self.axis >= tensor.ndim or tensor.shape[self.axis] != len(self.values):
            raise InvalidInput(
                f"the grid has {len(self.values)} channels at axis {self.axis}, the tensor is of "
                f"shape {tuple(tensor.shape)}; give the tensor that the grid was fitted to"
            )

    def _check_range(self, codes: Tensor) -> None:
        if (
            codes.numel()
            and not self.lowest <= int(codes.min()) <= int(codes.max()) <= self.highest
        ):
            raise InvalidInput(
                f"codes run from {int(codes.min())} to {int(codes.max())}; a {self.form} grid of "
                f"{self.bits} bits has {self.lowest} to {self.highest}"
            )

    def _spread(self, of_channels: Tensor, tensor: Tensor) -> Tensor:
        """Reshape (C,) so that it broadcasts along the tensor's channels."""
        if self.axis is None:
            return of_channels.reshape(())
        return of_channels.reshape([-1 if i == self.axis else 1 for i in range(tensor.ndim)])

    def _rows(self, tensor: Tensor) -> Tensor:
        """View as (C, entries of a channel)."""
        return tensor.reshape(1, -1) if self.axis is None else channel_rows(tensor, self.axis)

    def _nearest_entry(self, tensor: Tensor) -> Tensor:
        rows = self._rows(tensor).contiguous()
        values = self.values.to(rows.dtype)
        middles = (values[:, 1:] + values[:, :-1]) / 2
        codes = torch.searchsorted(middles.contiguous(), rows)
        # Of entries with equal values the first, or a value would have several codes.
        codes = torch.searchsorted(values.contiguous(), values.gather(1, codes))
        return from_rows(codes.to(torch.int32), tensor.shape, self.axis)

    def _entries(self, codes: Tensor) -> Tensor:
        values = self.values.gather(1, self._rows(codes).long())
        return from_rows(values, codes.shape, self.axis)


@dataclass(frozen=True, eq=False)
class QuantisedTensor:
    """Integer codes (int32, of the tensor's shape) and their grid."""

    codes: Tensor
    grid: Grid

    def dequantise(self) -> Tensor:
        """Return the float32 tensor that the codes stand for."""
        return self.grid.decode(self.codes)

    @property
    def stored_bits(self) -> int:
        """Bits of all codes at their fixed width, and of scales or codebooks; no entropy coding."""
        return self.codes.numel() * self.grid.bits + self.grid.stored_bits


def quantise_rows(rows: Tensor, grid: Grid) -> QuantisedTensor:
    """Take the nearest value of the grid for every entry."""
    return QuantisedTensor(grid.encode(rows), grid)


def channel_rows(tensor: Tensor, axis: int) -> Tensor:
    """Return the tensor as (channels, entries of one channel)."""
    return tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1)


def from_rows(rows: Tensor, shape: torch.Size, axis: int | None) -> Tensor:
    """Undo `channel_rows`; `axis` None is one row for all."""
    if axis is None:
        return rows.reshape(shape)
    moved = [shape[axis], *shape[:axis], *shape[axis + 1 :]]
    return rows.reshape(moved).movedim(0, axis).contiguous()


def as_tensor(rows: QuantisedTensor, shape: torch.Size, axis: int | None) -> QuantisedTensor:
    """Give quantised rows the shape of the tensor that they come from."""
    return QuantisedTensor(from_rows(rows.codes, shape, axis), replace(rows.grid, axis=axis))


def power_levels(top: int) -> Tensor:
    """Return float64 (top + 1,): 0, then 2^(1 - top) up to 2^0, the values of magnitudes 0 to top.

    A table, since torch's own powers of two are not exact everywhere.
    """
    return torch.tensor([0.0, *(2.0 ** (code - top) for code in range(1, top + 1))]).double()


def nearest_power_codes(ratios: Tensor, top: int) -> Tensor:
    """Return signed codes of the nearest 2^(|code| - top), or 0.

    Nearest in the linear metric: the border between 2^k and 2^(k+1) is 1.5 * 2^k, that between
    zero and the smallest power half of it (Li et al., DATE 2020).
    """
    mantissa, exponent = torch.frexp(ratios.abs())  # mantissa in [0.5, 1)
    exponent = exponent - (mantissa < 0.75).to(exponent.dtype)  # 2^exponent is the nearest
    smallest = 1 - top
    codes = (exponent + top).clamp(1, top)
    codes = torch.where(ratios.abs() < 2.0 ** (smallest - 1), torch.zeros_like(codes), codes)
    # frexp leaves infinity's exponent undefined.
    codes = torch.where(torch.isinf(ratios), torch.full_like(codes, top), codes)
    return (torch.sign(ratios).to(torch.int32) * codes).to(torch.int32)
