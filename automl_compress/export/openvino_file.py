"""OpenVINO's intermediate representation: an `.xml` with the graph, a `.bin` with the weights."""

import tempfile
from pathlib import Path

from torch import nn

from automl_compress.export.agreement import Agreement, check_agreement
from automl_compress.export.engines import require, version_of
from automl_compress.export.sessions import OPENVINO, openvino_session, read_openvino


def openvino_files(
    content: bytes, module: nn.Module, input_shape: tuple[int, ...]
) -> tuple[bytes, bytes, Agreement]:
    """Return the `.xml` and the `.bin` of a network, checked in OpenVINO as they were read back.

    Args:
        content: the network as an ONNX file.
        module: the network itself, in evaluation mode.
        input_shape: of one example, without the batch axis.

    Raises:
        InvalidInput: openvino is not installed.
        ModelInvalid: OpenVINO lacks an operator, or computes something else.
    """
    engine = require(OPENVINO, "an OpenVINO file")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        # By default it would store the weights as float16.
        engine.save_model(read_openvino(engine.Core(), content), path, compress_to_fp16=False)
        agreement = check_agreement(
            (OPENVINO, version_of(OPENVINO)), openvino_session(path).run, module, input_shape
        )
        return path.read_bytes(), path.with_suffix(".bin").read_bytes(), agreement
