"""Files of networks as functions on arrays, run by inference engines on one thread.

Each engine gets the settings under which it neither loses precision nor cores:

* OpenVINO computes in bfloat16 unless told otherwise, wherever the processor offers the type.
* ONNX Runtime's idle threads spin, which doubles the processor time of a call, and its optimiser
  `WeightBiasQuantization` quantises layers that a quantised file leaves in float32.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from automl_compress.core.errors import ModelInvalid
from automl_compress.export.engines import require

INPUT, OUTPUT = "images", "logits"
ONNX_RUNTIME, OPENVINO = "onnxruntime", "openvino"


@dataclass(frozen=True, slots=True)
class Session:
    """A loaded network.

    run: from images (B, *input_shape), float32, to outputs (B, ...).
    input_shape: of one example, without the batch axis.
    """

    run: Callable[[np.ndarray], np.ndarray]
    input_shape: tuple[int, ...]


def onnxruntime_session(content: bytes) -> Session:
    """Load an ONNX file into ONNX Runtime.

    Raises:
        InvalidInput: the engine is not installed.
        ModelInvalid: it cannot run the network; the message names the operator that it lacks.
    """
    engine = require(ONNX_RUNTIME, "running an ONNX file in ONNX Runtime")
    options = engine.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; its warnings are about optimisations
    try:
        session = engine.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["WeightBiasQuantization"],
        )
    except Exception as error:  # the engine's errors have no root of their own
        raise _unusable("ONNX Runtime", error) from error
    shape = tuple(session.get_inputs()[0].shape[1:])
    return Session(lambda images: session.run([OUTPUT], {INPUT: images})[0], shape)


def openvino_session(source: bytes | Path, batch: int | None = None) -> Session:
    """Load an ONNX file's bytes, or the `.xml` of an OpenVINO IR, into OpenVINO.

    Args:
        source: what to load.
        batch: the one batch size that will come, which makes calls faster; None takes any.

    Raises:
        InvalidInput: the engine is not installed.
        ModelInvalid: it cannot run the network; the message names the operator that it lacks.
    """
    engine = require(OPENVINO, "running a network in OpenVINO")
    core = engine.Core()
    try:
        model = read_openvino(core, source)
        if batch is not None:
            shape = model.inputs[0].partial_shape
            shape[0] = batch
            model.reshape(shape)
        compiled = core.compile_model(model, "CPU", openvino_config())
    except Exception as error:  # the engine's errors have no root of their own
        raise _unusable("OpenVINO", error) from error
    request = compiled.create_infer_request()
    # The outputs lie in memory of the request, which its next call writes again.
    shape = tuple(each.get_length() for each in list(model.inputs[0].partial_shape)[1:])
    return Session(lambda images: np.array(next(iter(request.infer([images]).values()))), shape)


def read_openvino(core: Any, source: bytes | Path) -> Any:
    """Read a network without OpenVINO's converter, which reports its use over the network."""
    return core.read_model(io.BytesIO(source) if isinstance(source, bytes) else str(source))


def openvino_config() -> dict[str, Any]:
    """Return the settings of every network that OpenVINO compiles here."""
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


def _unusable(engine: str, error: Exception) -> ModelInvalid:
    return ModelInvalid(
        f"{engine} cannot run this network: {str(error).strip()[:500]}; export it to another "
        "format, or replace the operator that the engine lacks"
    )
