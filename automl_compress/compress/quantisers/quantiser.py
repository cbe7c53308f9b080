"""The contract of all quantisers."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from automl_compress.compress.quantisers.grid import QuantisedTensor, as_tensor, channel_rows
from automl_compress.core.errors import DataInvalid, InvalidInput


class Quantiser(ABC):
    """Fits a grid to a tensor and picks a code for each entry.

    Laws, which `tests/contracts/quantiser.py` runs on every quantiser:

    - codes lie in the grid's range, and decoding, then encoding them again gives the same codes;
    - a grid with a zero maps zero to zero;
    - equal input gives equal output, on the tensor's device; the tensor is left as it is;
    - the squared error on weights falls as bits grow. Where `minimises_error` is set, it grows
      for no tensor, and a grid for each channel is never worse than one for all.

    Attributes:
        name: what it is called in options and policies.
        bit_widths: what `fit` takes as bits, ascending.
        minimises_error: it looks for the grid of the smallest squared error.
    """

    name: ClassVar[str]
    bit_widths: ClassVar[tuple[int, ...]]
    minimises_error: ClassVar[bool] = True

    def fit(self, tensor: Tensor, bits: int, axis: int | None = None) -> QuantisedTensor:
        """Quantise a tensor.

        Args:
            tensor: floating point, of any shape and device.
            bits: of a code; one of `bit_widths`.
            axis: of the channels that get a grid each; None is one grid for the tensor. The
                weights of convolutions and linear layers have their output channels at 0.

        Raises:
            InvalidInput: these bits are not allowed, or the tensor has no such axis.
            DataInvalid: the tensor is empty, no floating-point tensor, or holds NaN or infinity.
        """
        self._check(tensor, bits, axis)
        rows = tensor.detach().double()
        rows = rows.reshape(1, -1) if axis is None else channel_rows(rows, axis)
        return as_tensor(self._fit_rows(rows.contiguous(), bits), tensor.shape, axis)

    @abstractmethod
    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        """Quantise float64 rows (C, N), each on its own grid; the grid's axis is 0."""

    def _check(self, tensor: Tensor, bits: int, axis: int | None) -> None:
        if bits not in self.bit_widths:
            allowed = ", ".join(map(str, self.bit_widths))
            raise InvalidInput(f"{self.name} got {bits!r} bits; give one of: {allowed}")
        if axis is not None and not 0 <= axis < tensor.ndim:
            raise InvalidInput(
                f"axis is {axis}, the tensor has shape {tuple(tensor.shape)}; give the axis of "
                f"its channels, 0 to {tensor.ndim - 1}, or None"
            )
        if not tensor.is_floating_point() or not tensor.numel():
            raise DataInvalid(
                f"{self.name} got a tensor of {tensor.dtype} with {tensor.numel()} entries; give "
                "floating-point numbers, at least one"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise DataInvalid(
                f"{self.name} got a tensor with NaN or infinity; only finite entries have codes"
            )
