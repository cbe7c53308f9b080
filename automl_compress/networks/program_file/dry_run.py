"""Shapes of all results, found without computing them: a hostile program costs no memory."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.network import run_steps
from automl_compress.networks.program_file.steps import Wiring
from automl_compress.networks.watching import OperatorMode

Shapes = Mapping[str, tuple[int, ...]]


def find_shapes(
    wiring: Wiring, stored: Mapping[str, Tensor], images: tuple[int, ...], limits: ProgramLimits
) -> Shapes:
    """Run the steps on tensors that have shapes and no values.

    Args:
        wiring: operators only, no modules.
        stored: tensors by the names that steps use.
        images: shape of the input, (B, ...).
        limits: how many values the results may have.

    Returns:
        The shape of every tensor by the name that steps use.

    Raises:
        ModelInvalid: a step fails, makes more values than allowed, or its shape depends on
            values.
    """
    results: dict[str, Any] = {name: tensor.to("meta") for name, tensor in stored.items()}
    try:
        with torch.no_grad(), _ShapesOnly(limits):
            results[wiring.images] = torch.empty(images)
            run_steps(wiring, results, _no_module)
    except ModelInvalid:
        raise
    except Exception as error:  # of torch's shape rules, which have error types of their own
        raise ModelInvalid(
            f"the shapes of the program cannot be found: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}; give a network whose shapes follow from the "
            "image size alone"
        ) from error
    return {
        name: tuple(value.shape) for name, value in results.items() if isinstance(value, Tensor)
    }


def _no_module(path: str) -> nn.Module:
    raise AssertionError(f"{path} is run before it is rebuilt")


class _TooLarge(RuntimeError):
    """A result has more values than allowed."""


class _ShapesOnly(OperatorMode):
    """Makes every tensor one without values, and counts the values that it would have.

    It sees the operators within operators, too.
    """

    def __init__(self, limits: ProgramLimits) -> None:
        super().__init__()
        self._limits, self._together = limits, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        settings = dict(kwargs or {})
        if any(argument.name == "device" for argument in func._schema.arguments):
            settings["device"] = torch.device("meta")
        made = func(*args, **settings)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return made

    def _count(self, tensor: Tensor) -> None:
        count, limits = tensor.numel(), self._limits
        self._together += count
        if tensor.dim() > limits.axes or count > limits.values_each:
            raise _TooLarge(
                f"a result has {count:,} values in {tensor.dim()} axes; "
                f"{limits.values_each:,} in {limits.axes} are allowed"
            )
        if self._together > limits.values_together:
            raise _TooLarge(
                f"the results have more than {limits.values_together:,} values together"
            )
