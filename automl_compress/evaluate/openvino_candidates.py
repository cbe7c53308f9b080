"""Candidates compiled by OpenVINO, whose convolutions of few channels are faster than torch's.

The program that torch would run is translated with the candidate's tensors as constants: norms
are folded and weights repaired already. Translating takes some 10 ms and compiling some 100 ms,
so that it pays where a candidate is scored on many images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from automl_compress.core import LayerChoice
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import BoundProgram, Forward, ProgramCandidates
from automl_compress.evaluate.openvino_operators import OPERATORS
from automl_compress.evaluate.segments import overwrites_first
from automl_compress.export.engines import require
from automl_compress.export.sessions import OPENVINO, openvino_config


class OpenVinoCandidates:
    """Runs candidates in OpenVINO; those that round layer inputs stay with torch.

    OpenVINO would run the rounding in integers of its own choice.
    """

    def __init__(
        self, programs: ProgramCandidates, batch_size: int, input_shape: Sequence[int]
    ) -> None:
        """Load the engine.

        Args:
            programs: what binds candidates' tensors.
            batch_size: of the batches that will come; the last may be smaller.
            input_shape: of one image.

        Raises:
            InvalidInput: the engine is not installed.
        """
        self._core: Any = require(OPENVINO, "scoring candidates in OpenVINO").Core()
        self._programs, self._shape = programs, (batch_size, *input_shape)

    def of(self, candidate: Candidate) -> Forward:
        """Return the compiled candidate.

        Raises:
            NotImplementedError: the program has an operator that is not translated.
        """
        bound = self._programs.of(candidate)
        return bound if candidate.rounds_inputs else self._compiled(bound)

    def of_module(self, module: nn.Module, layers: Mapping[str, LayerChoice]) -> Forward:
        """Return the compiled program with the module's tensors."""
        bound = self._programs.of_module(module, layers)
        return bound if Candidate((), layers).rounds_inputs else self._compiled(bound)

    def _compiled(self, bound: BoundProgram) -> "OpenVinoForward":
        model = openvino_model(bound, self._shape)
        return OpenVinoForward(self._core.compile_model(model, "CPU", openvino_config()))


class OpenVinoForward:
    """One compiled candidate."""

    def __init__(self, compiled: Any) -> None:
        """Use a network that OpenVINO compiled for batches of one size."""
        self._request = compiled.create_infer_request()
        self._batch_size: int = compiled.inputs[0].get_shape()[0]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, ...); B is at most the batch size."""
        array = images.numpy()
        missing = self._batch_size - len(array)
        if missing:
            array = np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)])
        self._request.infer([np.ascontiguousarray(array)], share_inputs=True)
        # The outputs lie in memory of the request, which its next call writes again.
        return torch.from_numpy(self._request.get_output_tensor().data[: len(images)].copy())

    def logits(self, batches: Sequence[Tensor]) -> Tensor:
        """Run batch by batch."""
        return torch.cat([self(images) for images in batches])


def openvino_model(bound: BoundProgram, shape: Sequence[int]) -> Any:
    """Translate a program and its tensors.

    Args:
        bound: the candidate.
        shape: of the batches of images.

    Raises:
        NotImplementedError: an operator is not translated.
    """
    engine = require(OPENVINO, "scoring candidates in OpenVINO")
    images = engine.opset14.parameter(list(shape))
    logits = _Translation(bound.program.module, engine).run(images.output(0), *bound.tensors)
    return engine.Model([logits], [images])


class _Translation(fx.Interpreter):
    """Runs a program on OpenVINO's outputs instead of images.

    What does not depend on the images, such as the map of a shortcut, torch computes.
    """

    def __init__(self, module: fx.GraphModule, engine: Any) -> None:
        super().__init__(module)
        self._engine = engine

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        # What the network itself overwrites may have readers under its first name.
        if overwrites_first(n.target) and isinstance(n.args[0], fx.Node):
            self.env[n.args[0]] = result
        return result

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not any(map(self._depends, args)):
            return super().call_function(target, args, kwargs)
        translate = OPERATORS.get(target)
        if translate is None:
            raise NotImplementedError(f"OpenVINO is not told the operator {target}")
        result = translate(self._engine.opset14, *args, **kwargs)
        return result.output(0) if isinstance(result, self._engine.Node) else result

    def _depends(self, value: Any) -> bool:
        if isinstance(value, list | tuple):
            return any(map(self._depends, value))
        return isinstance(value, self._engine.Output)
