"""What engines do unless they are told otherwise, and that ours are told."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from automl_compress.core.errors import ModelInvalid
from automl_compress.export.agreement import check_agreement, random_images
from automl_compress.export.openvino_file import openvino_files
from automl_compress.export.sessions import onnxruntime_session, openvino_session
from automl_compress.export.subject import Subject
from tests.automl_compress.export.conftest import NEEDS_ONNX, NEEDS_OPENVINO

ENGINE = ("engine", "1")


@NEEDS_OPENVINO
def test_openvino_computes_in_float32_where_its_default_is_bfloat16(
    subject: Subject, onnx: bytes
) -> None:
    import openvino

    core = openvino.Core()
    default = core.compile_model(core.read_model(io.BytesIO(onnx)), "CPU")
    if default.get_property("INFERENCE_PRECISION_HINT") != openvino.Type.bf16:
        pytest.skip("this processor does not offer bfloat16: OpenVINO's default is float32")

    def run(images: np.ndarray) -> np.ndarray:
        return default(images)[0]

    agreement = check_agreement(
        ENGINE, openvino_session(onnx).run, subject.module, subject.input_shape
    )

    assert agreement.difference < 1e-5
    with pytest.raises(ModelInvalid, match="differs from the network"):
        check_agreement(ENGINE, run, subject.module, subject.input_shape)


@NEEDS_OPENVINO
def test_openvinos_file_holds_float32_weights(
    subject: Subject, onnx: bytes, tmp_path: Path
) -> None:
    graph, weights, agreement = openvino_files(onnx, subject.module, subject.input_shape)

    assert agreement.difference < 1e-5
    assert len(weights) > 0.95 * subject.document.after.size_bytes
    (tmp_path / "moved.xml").write_bytes(graph)
    (tmp_path / "moved.bin").write_bytes(weights)
    images = random_images(3, subject.input_shape).numpy()
    moved = openvino_session(tmp_path / "moved.xml").run(images)
    assert np.allclose(moved, openvino_session(onnx).run(images), atol=1e-5)


@NEEDS_OPENVINO
def test_openvino_compiled_for_one_batch_size_gives_the_same(subject: Subject, onnx: bytes) -> None:
    images = random_images(5, subject.input_shape).numpy()

    fixed, free = openvino_session(onnx, batch=5), openvino_session(onnx)

    assert np.allclose(fixed.run(images), free.run(images), atol=1e-5)


@NEEDS_OPENVINO
def test_outputs_of_earlier_calls_stay_what_they_were(subject: Subject, onnx: bytes) -> None:
    session = openvino_session(onnx)
    images = random_images(2, subject.input_shape).numpy()

    first = session.run(images)
    kept = first.copy()
    session.run(-images)

    assert np.array_equal(first, kept)


@NEEDS_ONNX
@pytest.mark.parametrize("load", [onnxruntime_session, openvino_session])
def test_a_file_that_is_no_network_is_refused(load: Callable[[bytes], object]) -> None:
    if load is openvino_session:
        pytest.importorskip("openvino")

    with pytest.raises(ModelInvalid, match="cannot run this network"):
        load(b"not a network")


def quantised_around_a_float_layer(weights: np.ndarray) -> bytes:
    """An ONNX file: uint8 in, a float32 convolution, uint8 out; as a quantiser leaves a layer."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: np.ndarray) -> object:
        return numpy_helper.from_array(value, name)

    constants = [
        constant("weights", weights),
        constant("bias", np.zeros(len(weights), np.float32)),
        constant("input_scale", np.float32(1 / 64).reshape(())),
        constant("output_scale", np.float32(1 / 16).reshape(())),
        constant("zero", np.uint8(128).reshape(())),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "input_scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "input_scale", "zero"], ["x"]),
        helper.make_node("Conv", ["x", "weights", "bias"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["y", "output_scale", "zero"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "output_scale", "zero"], ["logits"]),
    ]
    shapes = [["batch", weights.shape[1], 8, 8], ["batch", len(weights), 8, 8]]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(("images", "logits"), shapes, strict=True)
    ]
    graph = helper.make_graph(nodes, "quantised", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


@NEEDS_ONNX
def test_onnx_runtime_leaves_float_layers_of_quantised_files_alone() -> None:
    """By itself it quantises such a layer's weights, and outputs move by steps of their scale."""
    import onnxruntime

    rng = np.random.default_rng(0)
    weights = rng.standard_normal((16, 16, 3, 3)).astype(np.float32) / 16
    weights[:, 0, 0, 0] = 2.0  # makes steps of int8 weights coarse
    content = quantised_around_a_float_layer(weights)
    images = rng.standard_normal((4, 16, 8, 8)).astype(np.float32) / 2
    off = onnxruntime.SessionOptions()
    off.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(content, off).run(None, {"images": images})[0]
    default = onnxruntime.InferenceSession(content).run(None, {"images": images})[0]

    ours = onnxruntime_session(content).run(images)

    moved = (np.abs(ours - plain) > 1 / 32).mean()
    assert (np.abs(default - plain) > 1 / 32).mean() > 0.05
    assert moved < 0.001  # ties


@NEEDS_ONNX
def test_onnx_runtime_uses_no_processor_time_between_calls(subject: Subject, onnx: bytes) -> None:
    session = onnxruntime_session(onnx)
    images = random_images(1, subject.input_shape).numpy()
    session.run(images)

    before = time.process_time()
    time.sleep(0.2)

    assert time.process_time() - before < 0.05
