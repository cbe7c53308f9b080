"""Modules without tensors, made again where a file says that one of torch's own ran a step.

The network would compute the same without them. With them its fingerprint is that of the class
that was exported, so that a policy for the program applies to that class, too; and dropout is
active in training again.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from automl_compress.networks.program_file.layers import arguments_of
from automl_compress.networks.program_file.steps import Step

_ATEN, _MODULES = "torch.ops.aten.", "torch.nn.modules."
_POOLING = ("kernel_size", "stride", "padding", "ceil_mode")
_IN_PLACE = {
    "ReLU", "ReLU6", "Hardtanh", "LeakyReLU", "ELU", "CELU", "SELU", "SiLU", "Mish", "Hardswish",
    "Hardsigmoid",
}  # fmt: skip
# Of each class: the operators, without the sign of their in-place twins, and the settings that
# the class takes from the operator's arguments of the same name.
_CLASSES: Mapping[str, tuple[type[nn.Module], tuple[str, ...], tuple[str, ...]]] = {
    "activation.ReLU": (nn.ReLU, ("relu",), ()),
    "activation.ReLU6": (nn.ReLU6, ("relu6", "hardtanh"), ()),
    "activation.Hardtanh": (nn.Hardtanh, ("hardtanh",), ("min_val", "max_val")),
    "activation.LeakyReLU": (nn.LeakyReLU, ("leaky_relu",), ("negative_slope",)),
    "activation.ELU": (nn.ELU, ("elu",), ("alpha",)),
    "activation.CELU": (nn.CELU, ("celu",), ("alpha",)),
    "activation.SELU": (nn.SELU, ("selu",), ()),
    "activation.GELU": (nn.GELU, ("gelu",), ("approximate",)),
    "activation.SiLU": (nn.SiLU, ("silu",), ()),
    "activation.Mish": (nn.Mish, ("mish",), ()),
    "activation.Hardswish": (nn.Hardswish, ("hardswish",), ()),
    "activation.Hardsigmoid": (nn.Hardsigmoid, ("hardsigmoid",), ()),
    "activation.Sigmoid": (nn.Sigmoid, ("sigmoid",), ()),
    "activation.Tanh": (nn.Tanh, ("tanh",), ()),
    "activation.Softplus": (nn.Softplus, ("softplus",), ("beta", "threshold")),
    "activation.Softmax": (nn.Softmax, ("softmax",), ("dim",)),
    "activation.LogSoftmax": (nn.LogSoftmax, ("log_softmax",), ("dim",)),
    "dropout.Dropout": (nn.Dropout, ("dropout",), ("p",)),
    "dropout.Dropout1d": (nn.Dropout1d, ("feature_dropout",), ("p",)),
    "dropout.Dropout2d": (nn.Dropout2d, ("feature_dropout",), ("p",)),
    "dropout.Dropout3d": (nn.Dropout3d, ("feature_dropout",), ("p",)),
    "flatten.Flatten": (nn.Flatten, ("flatten",), ("start_dim", "end_dim")),
    "pooling.MaxPool1d": (nn.MaxPool1d, ("max_pool1d",), (*_POOLING, "dilation")),
    "pooling.MaxPool2d": (nn.MaxPool2d, ("max_pool2d",), (*_POOLING, "dilation")),
    "pooling.AvgPool1d": (nn.AvgPool1d, ("avg_pool1d",), (*_POOLING, "count_include_pad")),
    "pooling.AvgPool2d": (nn.AvgPool2d, ("avg_pool2d",), (*_POOLING, "count_include_pad")),
    "pooling.AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d, ("adaptive_avg_pool1d",), ("output_size",)),
    "pooling.AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, ("adaptive_avg_pool2d",), ("output_size",)),
}
_DROPOUTS = {"dropout": "dropout.Dropout", "feature_dropout": "dropout.Dropout2d"}


def plain_module(step: Step) -> tuple[nn.Module, bool] | None:
    """Make the module that ran a step, or that it needs to be off in evaluation: a dropout.

    Returns:
        The module, and whether the file says that it was one; None where the step stays an
        operator.
    """
    operator = step.target.removeprefix(_ATEN).partition(".")[0]
    name = step.module_class.removeprefix(_MODULES)
    is_told = name in _CLASSES and operator.removesuffix("_") in _CLASSES[name][1]
    if not is_told:
        name = _DROPOUTS.get(operator.removesuffix("_"), "")
    if name not in _CLASSES:
        return None
    kind, _, wanted = _CLASSES[name]
    arguments = arguments_of(step)
    if kind is nn.ReLU6 and operator.startswith("hardtanh"):
        is_told = (arguments["min_val"], arguments["max_val"]) == (0, 6)
    settings = {each: _SETTING.get(each, _as_it_is)(arguments.get(each)) for each in wanted}
    if kind.__name__ in _IN_PLACE:
        settings["inplace"] = operator.endswith("_")
    try:
        module = kind(**settings)
    except (ValueError, TypeError):
        return None  # the dry run has shown that the operator itself works
    return (module, is_told) if is_told or name.startswith("dropout.") else None


def _as_it_is(value: Any) -> Any:
    return value


def _spread(value: Any) -> Any:
    """Return one number for sizes that are alike; that is how most people write them."""
    alike = isinstance(value, (tuple, list)) and len(set(value)) == 1
    return value[0] if alike else tuple(value) if isinstance(value, list) else value


_SETTING: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("kernel_size", "padding", "dilation", "output_size"), _spread),
    "stride": lambda value: _spread(value) or None,  # empty: as large as the kernel
}
