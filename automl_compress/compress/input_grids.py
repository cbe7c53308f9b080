"""Grids for what reaches a network's layers, fitted once to a calibration sample."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.layer_inputs import input_samples
from automl_compress.compress.quantisers import Grid, create_quantiser
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.entering import entered

_QUANTISER = "mse"
_SAMPLES = 2**12  # of each batch and layer
_ITERATIONS = 20


def fitted_grid(samples: Tensor, bits: int) -> Grid:
    """Fit a uniform grid; inputs without negative entries, as behind a ReLU, get unsigned codes.

    One bit stands for zero and a scale, or, where inputs may be negative, for minus and plus a
    scale.

    Args:
        samples: floating point (n,), of what reaches a layer.
        bits: 1 to 8, or 16.

    Raises:
        InvalidInput: the bits are others.
        DataInvalid: the samples are empty or hold NaN or infinity.
    """
    is_signed = bool((samples < 0).any())
    if bits > 1:
        return create_quantiser(_QUANTISER, is_signed=is_signed).fit(samples, bits).grid
    if is_signed:
        return create_quantiser("binary").fit(samples, 1).grid
    scale = samples.double().mean()
    for _ in range(_ITERATIONS):  # Lloyd's: the mean of what is nearer to the scale than to zero
        above = samples[samples > scale / 2]
        scale = above.double().mean() if len(above) else torch.ones(())
    return Grid("linear", 1, scale.float().reshape(1, 1), None, is_signed=False)


class InputGrids:
    """The grids of a network's layers at any bit-width; samples are taken at the first use."""

    def __init__(
        self, module: nn.Module, layers: Sequence[str], batches: Sequence[tuple[Tensor, Tensor]]
    ) -> None:
        """Prepare.

        Args:
            module: in evaluation mode.
            layers: module paths of convolutions and linear layers.
            batches: labelled calibration images.
        """
        self._module, self._layers, self._batches = module, layers, batches
        self._samples: Mapping[str, Tensor] | None = None
        self._grids: dict[tuple[str, int], Grid] = {}

    def of(self, layer: str, bits: int) -> Grid:
        """Return the grid of a layer's inputs.

        Raises:
            InvalidInput: the layer is none of those named, or the bits cannot be.
        """
        if self._samples is None:
            self._samples = input_samples(self._module, self._layers, self._batches, _SAMPLES)
        if layer not in self._samples:
            raise InvalidInput(f"there are no samples of what reaches {layer!r}; calibrate it too")
        key = layer, bits
        if key not in self._grids:
            self._grids[key] = fitted_grid(self._samples[layer], bits)
        return self._grids[key]


class InputRounding:
    """A forward pre-hook that puts a layer's input on a grid.

    Gradients pass straight through where the input is not clipped. It pickles and copies with
    the module that it is registered on, and `torch.export` writes it down as plain operators.
    """

    def __init__(self, grid: Grid) -> None:
        """Keep the grid's numbers.

        Raises:
            InvalidInput: the grid is not one linear or sign grid for the whole tensor.
        """
        if grid.form not in ("linear", "sign") or grid.axis is not None:
            raise InvalidInput(
                f"inputs got a {grid.form} grid with axis {grid.axis}; give one linear or sign "
                "grid for the whole tensor"
            )
        self.grid = grid
        self._scale = float(grid.values)

    def __call__(self, layer: nn.Module, arguments: Any, keywords: Any) -> Any:
        """Round what enters the layer; convolutions and linear layers take nothing beside it."""
        return (self.rounded(entered(arguments, keywords)),), {}

    def rounded(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape on the grid."""
        if torch.is_grad_enabled() and x.requires_grad:
            clipped = x.clamp(self.grid.lowest * self._scale, self.grid.highest * self._scale)
            return clipped + (self._on_grid(x) - clipped).detach()
        return self._on_grid(x)

    def _on_grid(self, x: Tensor) -> Tensor:
        if self.grid.form == "sign":
            return torch.where(x < 0, -self._scale, self._scale).to(x.dtype)
        # torch's own fake-quantise operators also write a mask, and take four times as long.
        lowest, highest = self.grid.lowest, self.grid.highest
        return x.mul(1 / self._scale).round_().clamp_(lowest, highest).mul_(self._scale)


def round_inputs(module: nn.Module, grids: Mapping[str, Grid]) -> list[Callable[[], None]]:
    """Let layers of a module round their inputs.

    Args:
        module: changed in place.
        grids: by module path.

    Returns:
        What undoes it, one call for each layer.

    Raises:
        InvalidInput: a name is not the module's, or a grid does not fit.
    """
    members = dict(module.named_modules())
    unknown = [name for name in grids if name not in members]
    if unknown:
        raise InvalidInput(f"the network has no layer {unknown[0]!r}; give its own names")
    return [
        members[name].register_forward_pre_hook(InputRounding(grid), with_kwargs=True).remove
        for name, grid in grids.items()
    ]


def rounds_inputs(module: nn.Module) -> bool:
    """Say whether any layer of a module rounds what reaches it."""
    return any(
        isinstance(hook, InputRounding)
        for member in module.modules()
        for hook in member._forward_pre_hooks.values()
    )
