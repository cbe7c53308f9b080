"""Networks of several outputs: accuracy is measured on one of them, and all are kept."""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from automl_compress.core.errors import ModelInvalid

# No number: torch numbers hooks for each process, and a network goes from one to another.
_KEY = "scored output"


class _Selected:
    """A forward hook that returns one of the outputs."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, module: nn.Module, arguments: object, returned: object) -> Any:
        return tree_leaves(returned)[self.index]


def select_output(module: nn.Module, input_shape: tuple[int, ...], output: int = 0) -> nn.Module:
    """Return the network that gives one of its outputs, and still holds and computes all.

    Args:
        module: maps images (B, *input_shape) to one tensor, or to tuples, lists and dicts of
            tensors, which are numbered in the order in which it returns them.
        input_shape: of one example, without the batch axis.
        output: number of the one that accuracy is measured on: logits (B, classes).

    Returns:
        The module itself, where it returns one tensor; otherwise one that shares its layers and
        tensors. `every_output` still gives all of its outputs, and `with_every_output` undoes
        the selection.

    Raises:
        ModelInvalid: it has no such output, the output is none that accuracy can be measured
            on, or something that is no tensor is among the outputs.
    """
    module = with_every_output(module)
    shapes = output_shapes(module, input_shape)
    if not 0 <= output < len(shapes):
        raise ModelInvalid(
            f"the network has no output {output}; {listed(shapes)}: name the one that accuracy is "
            "measured on by its number"
        )
    if not shapes[output]:
        raise ModelInvalid(
            f"output {output} holds one number for each image; {listed(shapes)}: accuracy is "
            "measured on logits (B, classes)"
        )
    with torch.no_grad():
        if isinstance(module(torch.zeros(1, *input_shape)), Tensor):
            return module
    return one_output(module, output)


def one_output(module: nn.Module, output: int) -> nn.Module:
    """Return the network that gives this output, which it has; they share layers and tensors."""
    selecting = _twin(module)
    selecting._forward_hooks[_KEY] = _Selected(output)  # type: ignore[index]
    return selecting


def selected_output(module: nn.Module) -> int | None:
    """Return the number of the output that `select_output` chose; None where it had no choice."""
    hook = module._forward_hooks.get(_KEY)  # type: ignore[call-overload]
    return hook.index if isinstance(hook, _Selected) else None


def with_every_output(module: nn.Module) -> nn.Module:
    """Return the network that gives what its class returns; they share layers and tensors."""
    if selected_output(module) is None:
        return module
    whole = _twin(module)
    del whole._forward_hooks[_KEY]  # type: ignore[arg-type]
    return whole


def every_output(module: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """Run a network and return all of its outputs, (B, ...) each, whatever is selected.

    Raises:
        ModelInvalid: something that is no tensor is among them.
    """
    is_selecting = selected_output(module) is not None
    outputs = tree_leaves((module.forward if is_selecting else module)(images))
    for number, each in enumerate(outputs):
        if not isinstance(each, Tensor):
            raise ModelInvalid(
                f"output {number} of the network is a {type(each).__name__}; wrap it in a module "
                "that returns tensors alone, (B, ...) each"
            )
    if not outputs:
        raise ModelInvalid("the network returns nothing; it must return logits (B, classes)")
    return tuple(outputs)


def output_shapes(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the shape of each output for one image, without the batch axis.

    Raises:
        ModelInvalid: something that is no tensor is among the outputs, or the forward pass fails.
    """
    try:
        with torch.no_grad():
            outputs = every_output(module, torch.zeros(1, *input_shape))
    except ModelInvalid:
        raise
    except Exception as error:  # whatever the network's forward pass raises
        raise ModelInvalid(
            f"the network does not take inputs of shape {input_shape}: "
            f"{type(error).__name__}: {error}; give it images of the shape that it takes"
        ) from error
    return tuple(tuple(each.shape[1:]) for each in outputs)


def unscored_layers(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the paths of modules with weights that the selected output does not depend on.

    Args:
        module: of several outputs, of which one is selected; others have no such modules.
        input_shape: of one example, without the batch axis.
    """
    if selected_output(module) is None:
        return ()
    twin = copy.deepcopy(module).eval()
    weights = {
        f"{path}.{name}": parameter.requires_grad_()
        for path, member in twin.named_modules()
        for name, parameter in member.named_parameters(recurse=False)
        if parameter.is_floating_point()
    }
    with torch.enable_grad():
        scored = twin(torch.zeros(1, *input_shape)).sum()
    gradients = torch.autograd.grad(scored, list(weights.values()), allow_unused=True)
    paths = [name.rpartition(".")[0] for name in weights]
    used = {path for path, each in zip(paths, gradients, strict=True) if each is not None}
    return tuple(dict.fromkeys(path for path in paths if path not in used))


def listed(shapes: Sequence[Sequence[int]]) -> str:
    """Name a network's outputs, `its outputs are: 0 (B, 10), 1 (B, 100)`."""
    told = [f"{number} ({', '.join(map(str, ['B', *each]))})" for number, each in enumerate(shapes)]
    return (
        f"its outputs are: {', '.join(told)}" if len(told) > 1 else f"its one output is {told[0]}"
    )


def _twin(module: nn.Module) -> nn.Module:
    twin = copy.copy(module)
    twin._forward_hooks = OrderedDict(module._forward_hooks)
    return twin
