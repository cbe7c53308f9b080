"""ATen's operators as OpenVINO's, on batches of one size; functions as for convolutions."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from automl_compress.evaluate.openvino_convolutions import (
    constant,
    convolution,
    each_axis,
    fused,
    fused_sum,
    integers,
    shape_of,
)

aten = torch.ops.aten
_ROUNDING = {False: "floor", True: "ceil_torch"}  # of a pool's output size


def _linear(ops: Any, values: Any, weight: Tensor, bias: Tensor | None = None) -> Any:
    result = ops.matmul(values, constant(weight), False, True)
    return result if bias is None else ops.add(result, constant(bias))


def _batch_norm(
    ops: Any,
    images: Any,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    _training: bool,
    _momentum: float,
    epsilon: float,
    _cudnn: bool,
) -> Any:
    scale = torch.rsqrt(variance + epsilon)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = [1, -1, *[1] * (len(shape_of(images)) - 2)]
    scaled = ops.multiply(images, constant(scale.reshape(shape)))
    return ops.add(scaled, constant(shift.reshape(shape)))


def _sum(ops: Any, first: Any, second: Any, *, alpha: float = 1) -> Any:
    if alpha != 1:
        second = ops.multiply(constant(second), constant(alpha))
    return ops.add(constant(first), constant(second))


def _difference(ops: Any, first: Any, second: Any, *, alpha: float = 1) -> Any:
    return _sum(ops, first, second, alpha=-alpha)


def _product(ops: Any, first: Any, second: Any) -> Any:
    return ops.multiply(constant(first), constant(second))


def _concatenation(ops: Any, parts: Sequence[Any], axis: int = 0) -> Any:
    return ops.concat([constant(part) for part in parts], axis)


def _parts(ops: Any, value: Any, sizes: Sequence[int], axis: int = 0) -> list[Any]:
    return ops.variadic_split(value, integers([axis]), integers(sizes)).outputs()


def _chosen(ops: Any, value: Any, axis: int, entries: Tensor) -> Any:
    return ops.gather(value, constant(entries), integers([axis]))


def _reshaped(ops: Any, value: Any, shape: Sequence[int]) -> Any:
    return ops.reshape(value, integers(shape), False)


def _flattened(ops: Any, value: Any, start: int = 0, end: int = -1) -> Any:
    shape = shape_of(value)
    end %= len(shape)
    middle = math.prod(shape[start : end + 1])
    return _reshaped(ops, value, [*shape[:start], middle, *shape[end + 1 :]])


def _max_pool(
    ops: Any,
    images: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    kernel, stride, padding = _window(images, kernel, stride, padding)
    dilation = each_axis(dilation, len(kernel))
    rounding = _ROUNDING[ceil_mode]
    return ops.max_pool(images, stride, dilation, padding, padding, kernel, rounding).output(0)


def _average_pool(
    ops: Any,
    images: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    counts_padding: bool = True,
    divisor: int | None = None,
) -> Any:
    if divisor is not None:
        raise NotImplementedError("average pooling with a divisor of its own")
    kernel, stride, padding = _window(images, kernel, stride, padding)
    rounding = _ROUNDING[ceil_mode]
    return ops.avg_pool(images, stride, padding, padding, kernel, not counts_padding, rounding)


def _window(images: Any, kernel: Any, stride: Any, padding: Any) -> tuple[list[int], ...]:
    """Return kernel, stride (the kernel's, unless told) and padding, for each axis."""
    axes = len(shape_of(images)) - 2
    sizes = each_axis(kernel, axes)
    return sizes, each_axis(stride, axes) or sizes, each_axis(padding, axes)


def _adaptive_pool(ops: Any, images: Any, size: Any) -> Any:
    axes = len(shape_of(images)) - 2
    size = each_axis(size, axes)
    if set(size) == {1}:
        return _mean(ops, images, range(2, 2 + axes), True)
    return ops.adaptive_avg_pool(images, integers(size))


def _mean(ops: Any, value: Any, axes: Sequence[int], keeps: bool = False) -> Any:
    return ops.reduce_mean(value, integers(axes), keeps)


def _clamped(ops: Any, value: Any, low: float = -1.0, high: float = 1.0) -> Any:
    return ops.clamp(value, low, high)


def _limited(ops: Any, value: Any, low: float | None = None, high: float | None = None) -> Any:
    limits = -math.inf if low is None else low, math.inf if high is None else high
    return ops.clamp(value, *limits)


def _gelu(ops: Any, value: Any, *, approximate: str = "none") -> Any:
    return ops.gelu(value, "ERF" if approximate == "none" else "TANH")


def _leaky(ops: Any, value: Any, slope: Tensor | float = 0.01) -> Any:
    return ops.prelu(value, constant(slope))


def _unchanged(_ops: Any, value: Any, *_settings: Any) -> Any:
    return value


def _part(_ops: Any, parts: Sequence[Any], place: int) -> Any:
    return parts[place]


def _axis_size(_ops: Any, value: Any, axis: int) -> int:
    return shape_of(value)[axis]


def _named(name: str) -> Callable[..., Any]:
    """Return the operator of that name, which takes one value."""

    def apply(ops: Any, value: Any) -> Any:
        return getattr(ops, name)(value)

    return apply


# Operators that overwrite their operand give the same result as those that do not.
OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.conv1d.default: convolution,
    aten.conv2d.default: convolution,
    aten.conv3d.default: convolution,
    aten.conv1d.padding: convolution,
    aten.conv2d.padding: convolution,
    aten.conv3d.padding: convolution,
    torch.ops.mkldnn._convolution_pointwise.default: fused,
    torch.ops.mkldnn._convolution_pointwise.binary: fused_sum,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten.add.Tensor: _sum,
    aten.add_.Tensor: _sum,
    aten.sub.Tensor: _difference,
    aten.mul.Tensor: _product,
    aten.mul_.Tensor: _product,
    aten.cat.default: _concatenation,
    aten.split_with_sizes.default: _parts,
    aten.index_select.default: _chosen,
    aten.view.default: _reshaped,
    aten.reshape.default: _reshaped,
    aten.flatten.using_ints: _flattened,
    aten.max_pool1d.default: _max_pool,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool1d.default: _average_pool,
    aten.avg_pool2d.default: _average_pool,
    aten.adaptive_avg_pool1d.default: _adaptive_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_pool,
    aten.mean.dim: _mean,
    aten.relu.default: _named("relu"),
    aten.relu_.default: _named("relu"),
    aten.sigmoid.default: _named("sigmoid"),
    aten.sigmoid_.default: _named("sigmoid"),
    aten.tanh.default: _named("tanh"),
    aten.silu.default: _named("swish"),
    aten.silu_.default: _named("swish"),
    aten.hardswish.default: _named("hswish"),
    aten.hardswish_.default: _named("hswish"),
    aten.hardsigmoid.default: _named("hsigmoid"),
    aten.hardtanh.default: _clamped,
    aten.hardtanh_.default: _clamped,
    aten.clamp.default: _limited,
    aten.clamp_min.default: _limited,
    aten.gelu.default: _gelu,
    aten.leaky_relu.default: _leaky,
    aten.leaky_relu_.default: _leaky,
    aten.prelu.default: _leaky,
    aten.dropout.default: _unchanged,
    aten.contiguous.default: _unchanged,
    aten.sym_size.int: _axis_size,
    operator.getitem: _part,
}
