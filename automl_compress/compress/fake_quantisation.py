"""Running a network as if it were quantised, and back, without building another one."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.quantisers import Grid, create_quantiser
from automl_compress.core.errors import InvalidInput


def input_grids(
    samples: Mapping[str, Tensor], bits: Mapping[str, int], scale: str = "uniform"
) -> dict[str, Grid]:
    """Fit a uniform grid to the inputs of each layer.

    Inputs without negative entries, as behind a ReLU, get unsigned codes.

    Args:
        samples: from `input_samples`.
        bits: of each layer's inputs, one of the quantiser's bit-widths; 32, or a layer left
            out, stays as it is.
        scale: a uniform quantiser: `uniform`, `max`, `percentile`, `mse` or `kl`.

    Raises:
        UnknownName: no quantiser is called `scale`.
        InvalidInput: it is not uniform, or does not have these bits, or a layer has no samples.
    """
    found: dict[str, Grid] = {}
    for name, width in bits.items():
        if width == 32:
            continue
        if name not in samples:
            raise InvalidInput(f"there are no samples of what reaches {name!r}; calibrate it too")
        is_signed = bool((samples[name] < 0).any())
        found[name] = create_quantiser(scale, is_signed=is_signed).fit(samples[name], width).grid
    return found


@contextmanager
def fake_quantised(
    module: nn.Module, weights: Mapping[str, Tensor], inputs: Mapping[str, Grid]
) -> Generator[nn.Module]:
    """Let a module compute with quantised weights and inputs; undone at the end.

    Only references change hands, so that entering and leaving takes microseconds a layer: keep
    the dequantised tensors of every bit-width, and switch between them. Inputs pass gradients
    straight through where they are not clipped.

    Args:
        module: changed in place meanwhile.
        weights: by parameter name; float tensors of the parameter's shape, as
            `QuantisedTensor.dequantise` returns them.
        inputs: by module path; linear grids for the whole tensor.

    Raises:
        InvalidInput: a name is not the module's, a shape is another one, or a grid is not linear.
    """
    parameters, members = dict(module.named_parameters()), dict(module.named_modules())
    _check_weights(parameters, weights)
    _check_inputs(members, inputs)
    before = {name: parameters[name].data for name in weights}
    hooks = [
        members[name].register_forward_pre_hook(_rounding(grid)) for name, grid in inputs.items()
    ]
    try:
        for name, values in weights.items():
            parameters[name].data = values.to(before[name])
        yield module
    finally:
        for hook in hooks:
            hook.remove()
        for name, values in before.items():
            parameters[name].data = values


def _rounding(grid: Grid) -> Callable[[nn.Module, Any], Any]:
    scale = float(grid.values)
    lowest, highest = grid.lowest, grid.highest

    def round_first(layer: nn.Module, arguments: Any) -> Any:
        x = arguments[0]
        if torch.is_grad_enabled() and x.requires_grad:
            rounded = torch.fake_quantize_per_tensor_affine(x, scale, 0, lowest, highest)
        else:
            # The operator above also writes a mask for the gradient, and takes four times as long.
            rounded = x.mul(1 / scale).round_().clamp_(lowest, highest).mul_(scale)
        return rounded, *arguments[1:]

    return round_first


def _check_weights(parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    for name, values in weights.items():
        if name not in parameters:
            raise InvalidInput(f"the network has no parameter {name!r}; give its own names")
        if parameters[name].shape != values.shape:
            raise InvalidInput(
                f"{name} has shape {tuple(parameters[name].shape)}, the quantised tensor "
                f"{tuple(values.shape)}; quantise this network's weights"
            )


def _check_inputs(members: Mapping[str, nn.Module], inputs: Mapping[str, Grid]) -> None:
    for name, grid in inputs.items():
        if name not in members:
            raise InvalidInput(f"the network has no layer {name!r}; give its own names")
        if grid.form != "linear" or grid.axis is not None:
            raise InvalidInput(
                f"the inputs of {name} got a {grid.form} grid with axis {grid.axis}; give one "
                "linear grid for the whole tensor"
            )
