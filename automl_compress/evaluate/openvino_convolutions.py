"""Convolutions of ATen and oneDNN as OpenVINO's, and what all translations share.

Each function takes OpenVINO's operator set and then what the operator takes, with OpenVINO's
outputs in the place of what depends on the images; the rest are tensors, numbers and lists.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def constant(value: Any) -> Any:
    """Return OpenVINO's constant of a tensor or number; what it has already passes."""
    from openvino import op

    if isinstance(value, Tensor):
        return op.Constant(np.ascontiguousarray(value.numpy()), shared_memory=True)
    if isinstance(value, int | float):
        return op.Constant(np.array(value, dtype=np.float32))
    return value


def integers(values: Sequence[int]) -> Any:
    """Return the constant int64 vector of these."""
    return constant(torch.tensor(list(values), dtype=torch.int64))


def shape_of(value: Any) -> list[int]:
    """Return the sizes of an output's axes."""
    return list(value.get_shape())


def each_axis(value: int | Sequence[int], axes: int) -> list[int]:
    """Return one number for each axis; a single one counts for all."""
    given = [value] if isinstance(value, int) else list(value)
    return given * axes if len(given) == 1 else given


def convolution(
    ops: Any,
    images: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Translate `aten.convNd`; padding may be "same" or "valid"."""
    axes = weight.dim() - 2
    strides, dilations = each_axis(stride, axes), each_axis(dilation, axes)
    before = after = [0] * axes
    if padding == "same":  # an odd total leaves the larger part behind, as in torch
        totals = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        before = [total // 2 for total in totals]
        after = [total - first for total, first in zip(totals, before, strict=True)]
    elif padding != "valid":
        before = after = each_axis(padding, axes)
    settings = strides, before, after, dilations
    if groups == 1:
        result = ops.convolution(images, constant(weight), *settings)
    else:
        grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        result = ops.group_convolution(images, constant(grouped), *settings)
    if bias is None:
        return result
    return ops.add(result, constant(bias.reshape(1, -1, *[1] * axes)))


def fused(ops: Any, images: Any, *rest: Any) -> Any:
    """Translate oneDNN's convolution with an activation."""
    *settings, activation, limits, _ = rest
    return _activated(ops, _of_onednn(ops, images, *settings), activation, limits)


def fused_sum(ops: Any, images: Any, branch: Any, *rest: Any) -> Any:
    """Translate oneDNN's convolution with a branch that is added, and an activation."""
    *settings, _, _, activation, limits, _ = rest
    total = ops.add(_of_onednn(ops, images, *settings), branch)
    return _activated(ops, total, activation, limits)


def _of_onednn(
    ops: Any,
    images: Any,
    weight: Tensor,
    bias: Tensor | None,
    padding: Any,
    stride: Any,
    dilation: Any,
    groups: int,
) -> Any:
    return convolution(ops, images, weight, bias, stride, padding, dilation, groups)


def _activated(ops: Any, value: Any, name: str | None, limits: Sequence[float]) -> Any:
    if name == "relu":
        return ops.relu(value)
    return value if name is None else ops.clamp(value, *limits)
