"""Operations without weights: activations, additions of branches, pooling."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.core import ElementwiseUse, LayerGraph
from automl_compress.networks.watching import OperatorMode

# Multiplications and additions for each output element, by the challenge's counting rules: a
# ReLU is one multiplication, a sigmoid two and an addition, a swish one multiplication more.
_FOR_EACH_OUTPUT: Mapping[str, tuple[int, int]] = {
    "relu": (1, 0),
    "relu_": (1, 0),
    "hardtanh": (1, 0),
    "hardtanh_": (1, 0),
    "leaky_relu": (1, 0),
    "leaky_relu_": (1, 0),
    "sigmoid": (2, 1),
    "hardsigmoid": (2, 1),
    "silu": (3, 1),
    "silu_": (3, 1),
    "hardswish": (3, 1),
    "hardswish_": (3, 1),
    "add": (0, 1),
    "add_": (0, 1),
    "mul": (1, 0),
    "mul_": (1, 0),
}


def elementwise_uses(module: nn.Module, graph: LayerGraph) -> tuple[ElementwiseUse, ...]:
    """Watch one forward pass at batch 1 and count the operations without weights.

    Counted are activations, additions and products of branches, average and max pooling; a
    comparison of max pooling counts as an addition.

    Args:
        module: in evaluation mode.
        graph: traced from it.
    """
    watch = _Watch()
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    # What has one weight for all channels, as a PReLU may, does not tell how many there are.
    names = {
        layer.name
        for layer in graph.layers
        if (axes := tensors[layer.weight].axes) and axes[0].size(graph.full_widths) > 1
    }
    device = next(module.parameters()).device
    with _following_layers(module, names, watch), torch.no_grad(), watch:
        module(torch.zeros(1, *graph.input_shape, device=device))
    return tuple(watch.uses.values())


class _Watch(OperatorMode):
    """Adds every operator that is called to the layer that ran last."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = ""
        self.uses: dict[str, ElementwiseUse] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count it."""
        result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple) else result
        if isinstance(output, Tensor):
            self._add(*_count(func.overloadpacket.__name__, args, output))
        return result

    def _add(self, multiplies: int, additions: int) -> None:
        if multiplies or additions:
            before = self.uses.get(self.layer, ElementwiseUse(self.layer, 0, 0))
            self.uses[self.layer] = replace(
                before,
                multiplies=before.multiplies + multiplies,
                additions=before.additions + additions,
            )


def _count(operator: str, args: tuple[Any, ...], output: Tensor) -> tuple[int, int]:
    elements = output.numel()
    if operator in _FOR_EACH_OUTPUT:
        if operator.startswith("add") and not isinstance(args[1], Tensor):
            return 0, elements
        multiplies, additions = _FOR_EACH_OUTPUT[operator]
        return multiplies * elements, additions * elements
    if operator in _POOLING:
        return _POOLING[operator](args, output)
    return 0, 0


def _mean(args: tuple[Any, ...], output: Tensor) -> tuple[int, int]:
    return output.numel(), args[0].numel() - output.numel()


def _average_pool(args: tuple[Any, ...], output: Tensor) -> tuple[int, int]:
    return output.numel(), (_window(args) - 1) * output.numel()


def _max_pool(args: tuple[Any, ...], output: Tensor) -> tuple[int, int]:
    return 0, (_window(args) - 1) * output.numel()


def _window(args: tuple[Any, ...]) -> int:
    kernel = args[1]
    return math.prod(kernel) if len(kernel) == 2 else kernel[0] ** 2


_POOLING: Mapping[str, Callable[[tuple[Any, ...], Tensor], tuple[int, int]]] = {
    "mean": _mean,
    "_adaptive_avg_pool2d": _mean,
    "avg_pool2d": _average_pool,
    "max_pool2d_with_indices": _max_pool,
}


@contextmanager
def _following_layers(module: nn.Module, names: set[str], watch: _Watch) -> Iterator[None]:
    """Tell the watch which of the named layers ran last."""

    def note(name: str) -> Callable[..., None]:
        def hook(*ignored: object) -> None:
            watch.layer = name

        return hook

    hooks = [
        member.register_forward_hook(note(name))
        for name, member in module.named_modules()
        if name in names
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
