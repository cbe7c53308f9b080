"""The operators that a program may use: this list and nothing else is ever called."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._ops import OpOverload

_PREFIX = "torch.ops.aten."
_LARGEST_SIZE = 2**63

# In-place twins change what the network itself computed, as they did where it was exported; the
# check of the finished network refuses those that would overwrite weights or images.
_ACTIVATIONS = """
    relu.default relu_.default relu6.default relu6_.default hardtanh.default hardtanh_.default
    leaky_relu.default leaky_relu_.default elu.default elu_.default celu.default celu_.default
    selu.default selu_.default gelu.default gelu_.default silu.default silu_.default mish.default
    mish_.default hardswish.default hardswish_.default hardsigmoid.default hardsigmoid_.default
    sigmoid.default sigmoid_.default tanh.default tanh_.default softplus.default prelu.default
    softmax.int log_softmax.int log_sigmoid.default glu.default threshold.default
    threshold_.default clamp.default clamp_.default clamp_min.default clamp_min_.default
    clamp_max.default clamp_max_.default dropout.default dropout_.default feature_dropout.default
    feature_dropout_.default
"""
_ARITHMETIC = """
    add.Tensor add.Scalar add_.Tensor add_.Scalar sub.Tensor sub.Scalar sub_.Tensor sub_.Scalar
    mul.Tensor mul.Scalar mul_.Tensor mul_.Scalar div.Tensor div.Scalar div_.Tensor div_.Scalar
    rsub.Tensor rsub.Scalar neg.default abs.default square.default sqrt.default rsqrt.default
    exp.default log.default reciprocal.default pow.Tensor_Scalar pow.Tensor_Tensor erf.default
    sin.default cos.default maximum.default minimum.default where.self where.ScalarOther
    masked_fill.Scalar masked_fill_.Scalar eq.Scalar eq.Tensor ne.Scalar ne.Tensor gt.Scalar
    gt.Tensor ge.Scalar ge.Tensor lt.Scalar lt.Tensor le.Scalar le.Tensor logical_not.default
    logical_and.default logical_or.default tril.default triu.default
"""
_REDUCTIONS = """
    mean.default mean.dim sum.default sum.dim_IntList amax.default amin.default max.dim min.dim
    var.correction var.dim std.correction std.dim var_mean.correction linalg_vector_norm.default
    norm.ScalarOpt_dim cumsum.default
"""
_LAYERS = """
    conv1d.default conv1d.padding conv2d.default conv2d.padding conv3d.default conv3d.padding
    conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input linear.default
    batch_norm.default layer_norm.default group_norm.default instance_norm.default rms_norm.default
    matmul.default mm.default bmm.default addmm.default baddbmm.default einsum.default
    scaled_dot_product_attention.default max_pool1d.default max_pool2d.default max_pool3d.default
    avg_pool1d.default avg_pool2d.default avg_pool3d.default adaptive_avg_pool1d.default
    adaptive_avg_pool2d.default adaptive_avg_pool3d.default adaptive_max_pool1d.default
    adaptive_max_pool2d.default upsample_nearest1d.vec upsample_nearest2d.vec
    upsample_bilinear2d.vec upsample_bicubic2d.vec upsample_linear1d.vec
"""
_SHAPES = """
    view.default reshape.default _unsafe_view.default flatten.using_ints unflatten.int
    permute.default transpose.int t.default numpy_T.default movedim.int movedim.intlist
    expand.default expand_as.default broadcast_to.default squeeze.default squeeze.dim squeeze.dims
    unsqueeze.default cat.default concat.default concatenate.default stack.default chunk.default
    split.Tensor split.sizes split_with_sizes.default unbind.int slice.Tensor select.int
    narrow.default index_select.default index.Tensor roll.default flip.default repeat.default
    pad.default constant_pad_nd.default reflection_pad1d.default reflection_pad2d.default
    replication_pad1d.default replication_pad2d.default pixel_shuffle.default
    pixel_unshuffle.default channel_shuffle.default contiguous.default clone.default
    alias.default view_as.default reshape_as.default detach.default detach_.default
    lift_fresh_copy.default
"""
_MAKING = """
    zeros.default ones.default full.default zeros_like.default ones_like.default full_like.default
    new_zeros.default new_ones.default new_full.default arange.default arange.start
    arange.start_step scalar_tensor.default to.dtype to.dtype_layout to.device to.other
    _to_copy.default type_as.default sym_size.int sym_numel.default
"""


def _named(names: str) -> dict[str, OpOverload]:
    found: dict[str, OpOverload] = {}
    for name in names.split():
        packet, _, overload = name.partition(".")
        found[f"{_PREFIX}{name}"] = getattr(getattr(torch.ops.aten, packet), overload)
    return found


def _bounded(calculate: Callable[..., Any]) -> Callable[..., Any]:
    """Keep sizes within 64 bits; Python's integers would grow with every multiplication."""

    def calculated(*sizes: Any) -> Any:
        result = calculate(*sizes)
        # While a network is exported again, sizes are symbols, which are bounded by themselves.
        if type(result) is int and not -_LARGEST_SIZE <= result < _LARGEST_SIZE:
            raise ValueError("a size has more than 64 bits")
        return result

    return calculated


_SIZES = {
    f"_operator.{name}": _bounded(getattr(operator, name))
    for name in ("add", "sub", "mul", "floordiv", "mod", "neg")
}
OPERATORS: Mapping[str, OpOverload] = _named(
    _ACTIVATIONS + _ARITHMETIC + _REDUCTIONS + _LAYERS + _SHAPES + _MAKING
)
CALLABLES: Mapping[str, Callable[..., Any]] = {**OPERATORS, **_SIZES}

# What export leaves behind to check its own assumptions; nothing uses their results.
ASSERTIONS = frozenset(
    f"{_PREFIX}{name}"
    for name in (
        "_assert_tensor_metadata.default",
        "_assert_scalar.default",
        "sym_constrain_range_for_size.default",
        "sym_constrain_range.default",
    )
)


def why_refused(target: str) -> str:
    """Say in a few words why an operator is not taken."""
    if target.startswith("torch.ops.higher_order."):
        return "control flow, or a part that runs under settings of its own"
    if target.startswith(
        ("torch.ops.aten._native_batch_norm", "torch.ops.aten.native_")
    ) or target in (
        f"{_PREFIX}convolution.default",
        f"{_PREFIX}_adaptive_avg_pool2d.default",
    ):
        return "what run_decompositions leaves; save the program as torch.export.export gives it"
    if target.startswith(_PREFIX):
        return "an operator that is not on the list"
    return "not an operator of torch"
