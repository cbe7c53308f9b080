"""ONNX files of one layer, several times over, whose times tell what the layer takes."""

from typing import Any

import numpy as np

from automl_compress.costs.latency_table import DEPTHWISE, LayerShape
from automl_compress.export.engines import require
from automl_compress.export.onnx_file import BATCH_AXIS
from automl_compress.export.sessions import INPUT, OUTPUT

_OPSET, _IR_VERSION = 20, 10  # what the exporter writes


def layer_network(shape: LayerShape, inputs: int, outputs: int, copies: int) -> bytes:
    """Return a network of copies of a layer, all on the same input, as an ONNX file.

    Each adds the one before it to its own result and rectifies, as in a residual block; the
    engines do that within the layer. Several copies share what an engine does at the ends of
    a network, so that the difference of two numbers of copies is the layer's own.

    Args:
        shape: of the layer.
        inputs: size of the weight's second axis.
        outputs: channels.
        copies: at least 1.
    """
    onnx = require("onnx", "an ONNX file")
    make = onnx.helper
    generator = np.random.default_rng(0)
    is_linear = shape.kind == "linear"
    groups = outputs if shape.convolution_groups == DEPTHWISE else shape.convolution_groups
    nodes: list[Any] = []
    weights: list[Any] = []
    attributes: dict[str, Any] = {"transB": 1}
    if not is_linear:
        attributes = {
            "group": groups,
            "kernel_shape": shape.kernel_size,
            "strides": shape.stride,
            "pads": [*(pads := _pads(shape))[0], *pads[1]],
        }
    for copy in range(copies):
        size = (outputs, inputs, *shape.kernel_size)
        # Small, or sums would grow from copy to copy; not so small that floats become subnormal.
        values = generator.standard_normal(size, np.float32) / np.float32(np.prod(size[1:]))
        weights.append(onnx.numpy_helper.from_array(values, f"weight{copy}"))
        kind = "Gemm" if is_linear else "Conv"
        nodes.append(make.make_node(kind, [INPUT, f"weight{copy}"], [f"layer{copy}"], **attributes))
        summed = f"layer{copy}"
        if copy:
            summed = f"sum{copy}"
            nodes.append(make.make_node("Add", [f"layer{copy}", f"rectified{copy - 1}"], [summed]))
        nodes.append(make.make_node("Relu", [summed], [f"rectified{copy}"]))
    last = f"rectified{copies - 1}"
    kind = "Identity" if is_linear else "GlobalAveragePool"
    nodes.append(make.make_node(kind, [last], [OUTPUT]))
    image = [side * step for side, step in zip(shape.output_size, shape.stride, strict=True)]
    channels = inputs * (1 if is_linear else groups)
    float32, ones = onnx.TensorProto.FLOAT, [1] * len(shape.kernel_size)
    graph = make.make_graph(
        nodes,
        "layer",
        [make.make_tensor_value_info(INPUT, float32, [BATCH_AXIS, channels, *image])],
        [make.make_tensor_value_info(OUTPUT, float32, [BATCH_AXIS, outputs, *ones])],
        weights,
    )
    opset = [make.make_opsetid("", _OPSET)]
    model = make.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return model.SerializeToString(deterministic=True)


def _pads(shape: LayerShape) -> tuple[list[int], list[int]]:
    """Return the padding under which an image of output size times stride gives that output."""
    before: list[int] = []
    after: list[int] = []
    for kernel, step in zip(shape.kernel_size, shape.stride, strict=True):
        total = max(kernel - step, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before, after
