"""Real modules for the steps that have weights of their own: trainable, and cut like any other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from automl_compress.networks.program_file.operators import OPERATORS
from automl_compress.networks.program_file.steps import Reference, Step

_ATEN = "torch.ops.aten."
Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an operator becomes a module.

    tensors: argument of the operator, by the module's tensor that it is.
    build: makes the module, without values, of the operator's arguments, the shapes of its
        tensors, and the axes of its input.
    """

    tensors: Mapping[str, str]
    build: Callable[[Arguments, Mapping[str, tuple[int, ...]], int], nn.Module]


_WEIGHT_AND_BIAS = {"weight": "weight", "bias": "bias"}
_NORM = {**_WEIGHT_AND_BIAS, "running_mean": "running_mean", "running_var": "running_var"}
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def arguments_of(step: Step) -> dict[str, Any]:
    """Return a step's arguments by name, those with default values included.

    Arithmetic of sizes has no names for its arguments, and gives none.
    """
    operator = OPERATORS.get(step.target)
    schema = [] if operator is None else operator._schema.arguments
    given = {argument.name: value for argument, value in zip(schema, step.arguments, strict=False)}
    defaults = {each.name: each.default_value for each in schema if each.has_default_value()}
    return {**defaults, **given, **step.keywords}


def layer_tensors(step: Step, stored: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the tensors of the step's module by its own names; None where it has no module.

    Args:
        step: any.
        stored: tensors by the names that steps use.
    """
    kind = _KINDS.get(step.target)
    if kind is None:
        return None
    arguments = arguments_of(step)
    found: dict[str, Tensor] = {}
    for tensor, argument in kind.tensors.items():
        value = arguments.get(argument)
        if isinstance(value, Reference):
            if value.name not in stored:
                return None  # computed by other steps
            found[tensor] = stored[value.name]
    return found or None


def build_layer(step: Step, tensors: Mapping[str, Tensor], axes: int) -> nn.Module:
    """Make a step's module, its tensors still without values.

    Args:
        step: one that `layer_tensors` knows.
        tensors: by the module's names.
        axes: of its input.

    Raises:
        ValueError: no module has these settings; the step runs as an operator then.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    module = _KINDS[step.target].build(arguments_of(step), shapes, axes)
    expected = {name: tuple(each.shape) for name, each in module.named_parameters()}
    expected |= {name: tuple(each.shape) for name, each in module.named_buffers()}
    expected.pop("num_batches_tracked", None)
    if expected != shapes:
        raise ValueError(f"{type(module).__name__} has tensors of shapes {expected}, not {shapes}")
    return module


def _convolution(kind: Any) -> Callable[..., nn.Module]:
    def build(arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int) -> nn.Module:
        outputs, inputs, *kernel = shapes["weight"]
        if axes != len(shapes["weight"]):
            raise ValueError("a convolution of single images, without a batch axis")
        groups = arguments["groups"]
        padding = arguments["padding"]
        return kind(
            inputs * groups,
            outputs,
            tuple(kernel),
            stride=_spread(arguments["stride"], kernel),
            padding=padding if isinstance(padding, str) else _spread(padding, kernel),
            dilation=_spread(arguments["dilation"], kernel),
            groups=groups,
            bias="bias" in shapes,
            device="meta",
        )

    return build


def _transposed(kind: Any) -> Callable[..., nn.Module]:
    def build(arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int) -> nn.Module:
        inputs, outputs, *kernel = shapes["weight"]
        settings = ("stride", "padding", "output_padding", "dilation")
        return kind(
            inputs,
            outputs * arguments["groups"],
            tuple(kernel),
            **{name: _spread(arguments[name], kernel) for name in settings},
            groups=arguments["groups"],
            bias="bias" in shapes,
            device="meta",
        )

    return build


def _spread(value: Any, kernel: list[int]) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return numbers * len(kernel) if len(numbers) == 1 else numbers


def _linear(arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int) -> nn.Module:
    outputs, inputs = shapes["weight"]
    return nn.Linear(inputs, outputs, bias="bias" in shapes, device="meta")


def _batch_norm(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int
) -> nn.Module:
    if axes not in _BATCH_NORMS or len({len(each) for each in shapes.values()} | {1}) != 1:
        raise ValueError(f"a batch norm of {axes} axes")
    return _BATCH_NORMS[axes](
        next(iter(shapes.values()))[0],
        eps=arguments["eps"],
        # An average over all batches (momentum=None) is exported as 0, which would never move.
        momentum=arguments["momentum"] or None,
        affine="weight" in shapes,
        track_running_stats="running_mean" in shapes,
        device="meta",
    )


def _layer_norm(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int
) -> nn.Module:
    shape, bias = list(arguments["normalized_shape"]), "bias" in shapes
    return nn.LayerNorm(shape, eps=arguments["eps"], bias=bias, device="meta")


def _group_norm(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int
) -> nn.Module:
    (channels,) = shapes["weight"]
    groups, eps = arguments["num_groups"], arguments["eps"]
    if groups < 1:
        raise ValueError(f"a group norm of {groups} groups")
    return nn.GroupNorm(groups, channels, eps=eps, device="meta")


def _prelu(arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], axes: int) -> nn.Module:
    (channels,) = shapes["weight"]
    return nn.PReLU(channels, device="meta")


_KINDS: Mapping[str, _Kind] = {
    **{
        f"{_ATEN}conv{axes}d.{overload}": _Kind(_WEIGHT_AND_BIAS, _convolution(kind))
        for axes, kind in ((1, nn.Conv1d), (2, nn.Conv2d), (3, nn.Conv3d))
        for overload in ("default", "padding")
    },
    f"{_ATEN}conv_transpose1d.default": _Kind(_WEIGHT_AND_BIAS, _transposed(nn.ConvTranspose1d)),
    f"{_ATEN}conv_transpose2d.input": _Kind(_WEIGHT_AND_BIAS, _transposed(nn.ConvTranspose2d)),
    f"{_ATEN}conv_transpose3d.input": _Kind(_WEIGHT_AND_BIAS, _transposed(nn.ConvTranspose3d)),
    f"{_ATEN}linear.default": _Kind(_WEIGHT_AND_BIAS, _linear),
    f"{_ATEN}batch_norm.default": _Kind(_NORM, _batch_norm),
    f"{_ATEN}layer_norm.default": _Kind(_WEIGHT_AND_BIAS, _layer_norm),
    f"{_ATEN}group_norm.default": _Kind(_WEIGHT_AND_BIAS, _group_norm),
    f"{_ATEN}prelu.default": _Kind({"weight": "weight"}, _prelu),
}
