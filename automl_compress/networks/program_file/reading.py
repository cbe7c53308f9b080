"""Reading a program file: the one way in."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.archive import ProgramArchive, refuse
from automl_compress.networks.program_file.bounded_json import parse
from automl_compress.networks.program_file.checking import check_rebuilt
from automl_compress.networks.program_file.dry_run import find_shapes
from automl_compress.networks.program_file.evaluation_mode import in_evaluation
from automl_compress.networks.program_file.graph_document import read_graph
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.network import ProgramNetwork
from automl_compress.networks.program_file.rebuild import rebuild
from automl_compress.networks.program_file.steps import ProgramGraph, Wiring
from automl_compress.networks.program_file.tensors import StoredTensors, find_model, read_tensors

_TRIED_BATCH = 2


@dataclass(frozen=True, slots=True)
class Program:
    """A network that was read from a file, in evaluation mode, and the shape of one image."""

    module: ProgramNetwork
    input_shape: tuple[int, ...]


def read_program(content: Path | bytes, limits: ProgramLimits | None = None) -> Program:
    """Read a `.pt2` file of torch.export, without running anything of it.

    The graph is data, its operators are those of a list, its weights are raw bytes; pickles in
    the archive are never opened, and no text is evaluated. What may be read is bounded before
    it is read. The network is a module with the original paths, so that its state dict loads
    into the class that was exported; it can be trained, cut and exported again.

    Args:
        content: the file, or its bytes.
        limits: how much it may hold; None for the default ones.

    Raises:
        OperatorsRefused: nodes with operators that are not on the list; each is named.
        ModelInvalid: no such file, or it cannot be used; the message says what to do.
    """
    limits = limits or ProgramLimits()
    if isinstance(content, bytes):
        return _read(io.BytesIO(content), limits)
    try:
        with content.open("rb") as file:
            return _read(file, limits)
    except OSError as error:
        raise ModelInvalid(
            f"the program file {content} cannot be read ({error.strerror or error}); give the "
            "path of a .pt2 file"
        ) from error


def _read(file: BinaryIO, limits: ProgramLimits) -> Program:
    archive = ProgramArchive(file, limits)
    model = find_model(archive)
    name = f"models/{model}.json"
    graph = read_graph(parse(archive.read_document(name), name, limits), limits)
    tensors = read_tensors(archive, model, limits)
    steps = tuple(in_evaluation(step) for step in graph.steps)
    plain = Wiring(graph.images, steps, graph.outputs, graph.stored)
    stored = _stored(graph, tensors)
    shapes = find_shapes(plain, stored, (graph.batch or _TRIED_BATCH, *graph.input_shape), limits)
    network = rebuild(graph, plain, tensors, stored, shapes)
    check_rebuilt(network, graph, plain, stored)
    return Program(network, graph.input_shape)


def _stored(graph: ProgramGraph, tensors: StoredTensors) -> dict[str, Tensor]:
    """Return the stored tensors by the names that steps use."""
    stored: dict[str, Tensor] = {}
    for used, name in graph.stored.items():
        found = (tensors.constants if name in graph.transient else tensors.weights).get(name)
        if found is None:
            refuse(f"has no values for the tensor {name[:60]!r}")
        stored[used] = found
    return stored
