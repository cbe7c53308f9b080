"""Latency tables on this machine: measured for a network, written, read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from automl_api.sources import ModelSource
from automl_compress.core import Budget, Effort, SpaceOptions, StudySpec
from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.costs import LatencyTable
from automl_compress.evaluate.study_latency import study_table
from automl_compress.networks.trace import trace
from automl_compress.whole_files import write_whole


@dataclass(frozen=True, slots=True)
class MeasureRequest:
    """What is measured, and where the table goes; has_int8: layers in int8 too."""

    model: ModelSource
    target: str
    batch: int
    round_to: int
    output: Path
    has_int8: bool = False


def measure_file(request: MeasureRequest, go_on: Callable[[], None] = lambda: None) -> LatencyTable:
    """Measure a network's layers on this machine and write the table.

    Raises:
        UnknownName: there is no such target.
        InvalidInput: its engine is not installed.
        ModelInvalid: the network cannot be loaded, exported or run.
        StorageFailed: the disk did not take the file.
    """
    torch.set_num_threads(1)
    module, input_shape = request.model.load_for_images(Path())
    bits = (8, 32) if request.has_int8 else ()
    space = SpaceOptions(
        round_to=request.round_to, weight_bits=bits, activation_bits=bits, edge_bits=None
    )
    study = StudySpec(
        "uniform",
        Budget("latency_ns", 1.0),
        Effort(evaluations=1),
        space,
        target=request.target,
        latency_batch=request.batch,
    )
    table = study_table(trace(module, input_shape), study, go_on)
    assert table is not None
    text = json.dumps(table.to_json(), indent=1) + "\n"
    try:
        write_whole(request.output, [text.encode()])
    except OSError as error:
        raise StorageFailed(
            f"{request.output} cannot be written ({error.strerror}); choose another --output"
        ) from error
    return table


def read_table(path: Path) -> LatencyTable:
    """Read a table; raises InvalidInput."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON ({error}); give a latency table") from error
    return LatencyTable.from_json(content)
