"""What is exported: a compressed network with its policy document."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from torch import nn

from automl_compress.compress.input_grids import rounds_inputs
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import ModelInvalid
from automl_compress.export.agreement import Agreement, check_agreement
from automl_compress.export.engines import version_of
from automl_compress.export.integer_onnx import with_integer_layers
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.sessions import ONNX_RUNTIME, onnxruntime_session
from automl_compress.networks.outputs import select_output

logger = logging.getLogger(__name__)
Checked = TypeVar("Checked")


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file that ONNX Runtime was seen to compute rightly.

    integer_layers: names of the weights whose layers an engine may compute in int8.
    """

    content: bytes
    agreement: Agreement
    integer_layers: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A compressed network and the document that it was made by.

    module: in evaluation mode, as `apply_policy` returns it; of several outputs one is selected.
    uncut: the network before, with whatever weights, for its time; None where it is not at hand.
    report: of the search that found it, one HTML file for its bundle; None where there is none.
    """

    module: nn.Module
    document: PolicyDocument
    uncut: nn.Module | None = None
    report: bytes | None = None

    @classmethod
    def of(
        cls, module: nn.Module, document: PolicyDocument, uncut: nn.Module | None = None
    ) -> "Subject":
        """Make a subject of networks that may give all of their outputs.

        Raises:
            ModelInvalid: they don't have the output that the document's figures are of.
        """
        shape, output = document.model.input_shape, document.model.output
        if output is None:
            return cls(module, document, uncut)
        before = None if uncut is None else select_output(uncut.eval(), shape, output)
        return cls(select_output(module, shape, output), document, before)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, without the batch axis."""
        return self.document.model.input_shape

    @cached_property
    def onnx(self) -> bytes:
        """The network as an ONNX file in float32, which several formats begin with.

        Raises:
            InvalidInput: a package of the extra `[engines]` is missing.
            ModelInvalid: an operator has no ONNX form.
        """
        notes = {"policy": self.document.digest, "automl-compress": version_of("automl-compress")}
        return onnx_bytes(self.module, self.input_shape, notes)

    @cached_property
    def checked_onnx(self) -> OnnxFile:
        """The ONNX file, in integers where the network is, checked in ONNX Runtime.

        Raises:
            InvalidInput: a package of the extra `[engines]` is missing.
            ModelInvalid: the network cannot be written, or the engine computes something else.
        """
        engine = (ONNX_RUNTIME, version_of(ONNX_RUNTIME))

        def check(content: bytes) -> tuple[bytes, Agreement]:
            run = onnxruntime_session(content).run
            return content, check_agreement(engine, run, self.module, self.input_shape)

        (content, agreement), layers = self.in_integers(check, has_integer_biases=True)
        return OnnxFile(content, agreement, layers)

    def in_integers(
        self, check: Callable[[bytes], Checked], *, has_integer_biases: bool
    ) -> tuple[Checked, tuple[str, ...]]:
        """Check the ONNX file with its quantised layers in integers; in float where that fails.

        Args:
            check: raises ModelInvalid for a file that an engine computes otherwise.
            has_integer_biases: as `with_integer_layers` takes it.

        Returns:
            What the check returned, and the names of the weights of the integer layers.
        """
        if rounds_inputs(self.module):
            content, layers = with_integer_layers(self.onnx, has_integer_biases=has_integer_biases)
            try:
                return check(content), layers
            except ModelInvalid as error:
                logger.info("quantised layers are written in float32: %s", error)
        return check(self.onnx), ()
