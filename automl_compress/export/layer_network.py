"""ONNX files of one layer, several times over, whose times tell what the layer takes."""

from typing import Any

import numpy as np

from automl_compress.costs.layer_times import DEPTHWISE, LayerShape
from automl_compress.export.engines import require
from automl_compress.export.onnx_file import BATCH_AXIS
from automl_compress.export.sessions import INPUT, OUTPUT

_OPSET, _IR_VERSION = 20, 10  # what the exporter writes


def layer_network(shape: LayerShape, inputs: int, outputs: int, copies: int) -> bytes:
    """Return a network of copies of a layer, all on the same input, as an ONNX file.

    Each adds the one before it to its own result and rectifies, as in a residual block; the
    engines do that within the layer. Several copies share what an engine does at the ends of
    a network, so that the difference of two numbers of copies is the layer's own. In int8 they
    share what quantises the input.

    Args:
        shape: of the layer.
        inputs: size of the weight's second axis.
        outputs: channels.
        copies: at least 1.
    """
    onnx = require("onnx", "an ONNX file")
    make, float32 = onnx.helper, onnx.TensorProto.FLOAT
    is_linear = shape.kind == "linear"
    groups = outputs if shape.convolution_groups == DEPTHWISE else shape.convolution_groups
    image = [side * step for side, step in zip(shape.output_size, shape.stride, strict=True)]
    channels, ones = inputs * (1 if is_linear else groups), [1] * len(shape.kernel_size)
    graph = make.make_graph(
        _nodes(make, shape, groups, copies),
        "layer",
        [make.make_tensor_value_info(INPUT, float32, [BATCH_AXIS, channels, *image])],
        [make.make_tensor_value_info(OUTPUT, float32, [BATCH_AXIS, outputs, *ones])],
        _weights(
            onnx.numpy_helper, (outputs, inputs, *shape.kernel_size), copies, shape.is_integer
        ),
    )
    opset = [make.make_opsetid("", _OPSET)]
    model = make.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return model.SerializeToString(deterministic=True)


def _nodes(make: Any, shape: LayerShape, groups: int, copies: int) -> list[Any]:
    kind, attributes, ending = "Gemm", {"transB": 1}, "Identity"
    if shape.kind != "linear":
        kind, ending = "Conv", "GlobalAveragePool"
        attributes = {
            "group": groups,
            "kernel_shape": shape.kernel_size,
            "strides": shape.stride,
            "pads": _pads(shape),
        }
    found: list[Any] = []
    if shape.is_integer:
        grid = ["scale", "zero_point"]
        found.append(make.make_node("QuantizeLinear", [INPUT, *grid], ["codes"]))
        found.append(make.make_node("DequantizeLinear", ["codes", *grid], ["rounded"]))
    for copy in range(copies):
        summed = f"layer{copy}"
        terms = [INPUT, f"weight{copy}"]
        if shape.is_integer:
            weights = [f"weight{copy}", f"weight_scales{copy}"]
            terms = ["rounded", f"float_weight{copy}"]
            found.append(make.make_node("DequantizeLinear", weights, terms[1:], axis=0))
        found.append(make.make_node(kind, terms, [summed], **attributes))
        if copy:
            terms, summed = [summed, f"rectified{copy - 1}"], f"sum{copy}"
            found.append(make.make_node("Add", terms, [summed]))
        found.append(make.make_node("Relu", [summed], [f"rectified{copy}"]))
    found.append(make.make_node(ending, [f"rectified{copies - 1}"], [OUTPUT]))
    return found


def _weights(numpy_helper: Any, size: tuple[int, ...], copies: int, are_integer: bool) -> list[Any]:
    generator = np.random.default_rng(0)
    # Small, or sums would grow from copy to copy; not so small that floats become subnormal.
    scale = np.float32(np.prod(size[1:]))
    found: dict[str, np.ndarray] = {}
    if are_integer:
        found["scale"] = np.array(1 / 32, dtype=np.float32)
        found["zero_point"] = np.array(0, dtype=np.uint8)  # as behind a rectifier
    for copy in range(copies):
        if are_integer:
            found[f"weight{copy}"] = generator.integers(-127, 128, size, np.int8)
            found[f"weight_scales{copy}"] = np.full(size[0], 1 / (64 * scale), np.float32)
        else:
            found[f"weight{copy}"] = generator.standard_normal(size, np.float32) / scale
    return [numpy_helper.from_array(array, name) for name, array in found.items()]


def _pads(shape: LayerShape) -> list[int]:
    """Return the padding under which an image of output size times stride gives that output."""
    totals = [
        max(side - step, 0) for side, step in zip(shape.kernel_size, shape.stride, strict=True)
    ]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]
