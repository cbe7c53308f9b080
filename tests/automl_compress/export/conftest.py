"""A network cut to half of its MACs, with its document."""

from pathlib import Path

import pytest

from automl_compress.compress.apply import apply_policy
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.export.subject import Subject
from automl_compress.networks.trace import trace
from tests.automl_compress.export.test_documents import uncut, write


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip a test without these engines, saying so."""
    wanted = ", ".join(packages)
    return pytest.mark.skipif(
        not is_installed(*packages),
        reason=f"not installed: {wanted} (pip install automl-compress[engines])",
    )


NEEDS_ONNX = needs(*ONNX_PACKAGES)
NEEDS_OPENVINO = needs(*ONNX_PACKAGES, "openvino")


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder: Path = tmp_path_factory.mktemp("subject")
    _, document = write(trace(uncut("resnet-20"), (3, 32, 32)), folder, "resnet-20")
    weights = folder / "network.safetensors"
    return Subject(apply_policy(uncut("resnet-20"), document, weights), document)


@pytest.fixture(scope="session")
def onnx(subject: Subject) -> bytes:
    """The network as an ONNX file; only for tests that need the packages."""
    return subject.onnx
