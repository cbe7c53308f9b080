"""What is exported: a compressed network with its policy document."""

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from automl_compress.core.document import PolicyDocument
from automl_compress.export.agreement import Agreement, check_agreement
from automl_compress.export.engines import version_of
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.sessions import ONNX_RUNTIME, onnxruntime_session


@dataclass(frozen=True)
class Subject:
    """A compressed network and the document that it was made by.

    module: in evaluation mode, as `apply_policy` returns it.
    """

    module: nn.Module
    document: PolicyDocument

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, without the batch axis."""
        return self.document.model.input_shape

    @cached_property
    def onnx(self) -> bytes:
        """The network as an ONNX file, which several formats begin with; names the policy.

        Raises:
            InvalidInput: a package of the extra `[engines]` is missing.
            ModelInvalid: an operator has no ONNX form.
        """
        notes = {"policy": self.document.digest, "automl-compress": version_of("automl-compress")}
        return onnx_bytes(self.module, self.input_shape, notes)

    @cached_property
    def checked_onnx(self) -> tuple[bytes, Agreement]:
        """The ONNX file, and how well ONNX Runtime's outputs agree with torch's.

        Raises:
            InvalidInput: a package of the extra `[engines]` is missing.
            ModelInvalid: the network cannot be written, or the engine computes something else.
        """
        content = self.onnx
        session = onnxruntime_session(content)
        engine = (ONNX_RUNTIME, version_of(ONNX_RUNTIME))
        return content, check_agreement(engine, session.run, self.module, self.input_shape)
