"""ONNX files with a dynamic batch axis."""

import copy
import logging
import threading
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from automl_compress.core.errors import ModelInvalid
from automl_compress.export.engines import require
from automl_compress.export.sessions import INPUT, OUTPUT

BATCH_AXIS = "batch"

_exporter = threading.Lock()  # two threads take each other's modes off torch's stack
_TRACED_BATCH = 2  # with 1 the exporter would take the batch axis for a constant


def export_program(module: nn.Module, input_shape: tuple[int, ...]) -> ExportedProgram:
    """Record a network's forward pass as a graph of torch's operators, for every batch size.

    The input is called `images`, whatever the network's class calls it.

    Args:
        module: in evaluation mode.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: its forward pass depends on values or on the batch size.
    """
    batch = torch.export.Dim(BATCH_AXIS)
    images = torch.zeros(_TRACED_BATCH, *input_shape)
    try:
        with torch.no_grad(), _alone_and_quiet():
            named = _taking_images(module)
            program = torch.export.export(named, (images,), dynamic_shapes=({0: batch},))
    except Exception as error:  # whatever the network's code and the tracer raise
        raise _unexportable("torch.export", error) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names source files of this machine
    return program


def _taking_images(module: nn.Module) -> nn.Module:
    """Return the network with an argument of another name; layers, tensors and hooks are shared."""
    twin = copy.copy(module)
    twin._forward_hooks = module._forward_hooks  # which the copy of a traced network lacks
    forward = twin.forward

    def renamed(images: Tensor) -> Any:  # the exporter takes the name from here; it is INPUT
        return forward(images)

    twin.forward = renamed
    return twin


def onnx_bytes(
    module: nn.Module, input_shape: tuple[int, ...], notes: Mapping[str, str] | None = None
) -> bytes:
    """Return a network as an ONNX file; equal networks give equal bytes.

    The input is called `images`, the output `logits`, their first axis `batch`. Batch norms are
    folded into the layers before them.

    Args:
        module: in evaluation mode.
        input_shape: of one example, without the batch axis.
        notes: kept in the file's metadata.

    Raises:
        InvalidInput: onnx or onnxscript is not installed.
        ModelInvalid: an operator has no ONNX form; the message names it.
    """
    onnx = require("onnx", "an ONNX file")
    require("onnxscript", "an ONNX file")
    program = export_program(module, input_shape)
    try:
        with _alone_and_quiet():
            written: Any = torch.onnx.export(
                program,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
            )
    except Exception as error:  # whatever the exporter's passes raise
        raise _unexportable("ONNX", error) from error
    model = written.model_proto
    _clean(model)
    onnx.helper.set_model_props(model, dict(notes or {}))
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _clean(model: Any) -> None:
    """Leave away what no engine reads: names of source files, and much of a small file."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for initializer in model.graph.initializer:
        initializer.ClearField("metadata_props")
        initializer.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
        value.type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS


@contextmanager
def _alone_and_quiet() -> Generator[None]:
    """Let one thread at a time export, and silence what the exporter says of its own parts."""
    logger = logging.getLogger("torch.onnx")
    with _exporter:
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logger.setLevel(level)


def _unexportable(target: str, error: Exception) -> ModelInvalid:
    # The exporter's own message is a page; its cause names the operator in one line.
    cause = error.__cause__ or error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause).strip().splitlines()
    return ModelInvalid(
        f"the network cannot be written for {target}: {text[0][:500] if text else error!r}; "
        "replace that operator, or keep the safetensors file"
    )
