"""The latency of a study: its target's table before the search, its finalists' times behind it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from automl_compress.compress.input_grids import rounds_inputs
from automl_compress.core import StudySpec
from automl_compress.core.errors import ModelInvalid, UnknownName
from automl_compress.costs import LatencyTable, compression_space
from automl_compress.evaluate.latency import (
    LatencyMeasurement,
    LatencyPlan,
    engine_of,
    measure_latency,
)
from automl_compress.evaluate.latency_tables import measure_table
from automl_compress.export.integer_onnx import with_integer_layers
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.onnx_template import OnnxTemplate
from automl_compress.export.sessions import ONNX_RUNTIME
from automl_compress.networks.trace import Network
from automl_compress.targets import TARGETS, Target

logger = logging.getLogger(__name__)


def local_target(name: str | None) -> Target | None:
    """Return the target of this name that this machine measures itself; None for any other."""
    return next((target for target in TARGETS if target == name), None)


def study_table(
    network: Network, study: StudySpec, go_on: Callable[[], None] = lambda: None
) -> LatencyTable | None:
    """Measure the table of a study's target on this machine; None for a study without target.

    Args:
        network: the uncut network, traced.
        study: names the target, and what can become of the layers.
        go_on: called again and again; what it raises ends the measurement.

    Raises:
        UnknownName: the target is not one that is measured here.
        InvalidInput: its engine is not installed, or the space does not fit the network.
        ModelInvalid: the engine cannot run the network.
    """
    if study.target is None:
        return None
    target = local_target(study.target)
    if target is None:
        raise UnknownName("latency target", study.target, TARGETS)
    space = compression_space(network.graph, study.space)
    return measure_table(network, space, target, study.latency_batch, go_on=go_on)


def finalist_latencies(
    network: Network, study: StudySpec, finalists: Sequence[nn.Module]
) -> list[LatencyMeasurement | None]:
    """Measure finished networks in turns with the uncut one.

    Args:
        network: the uncut network, traced.
        study: names the target.
        finalists: cut networks; what an engine may compute of them in int8 is measured so.

    Returns:
        None for what is not measured: targets that are other machines, networks whose files
        cannot be made of one template, and those on which the engine fails.
    """
    target = local_target(study.target)
    if target is None:
        return [None] * len(finalists)
    try:
        template = OnnxTemplate(network)
    except ModelInvalid as error:
        logger.warning("latencies of finalists were not measured: %s", error)
        return [None] * len(finalists)
    plan = LatencyPlan(batch=study.latency_batch)
    with TemporaryDirectory() as folder:
        uncut, cut = Path(folder) / "uncut.onnx", Path(folder) / "cut.onnx"
        uncut.write_bytes(template.bytes_of(network.module))

        def measured(finalist: nn.Module) -> LatencyMeasurement | None:
            try:
                cut.write_bytes(_file(finalist, template, network.graph.input_shape, target))
                return measure_latency(cut, target, uncut, plan)
            except ModelInvalid as error:  # the search is done: its result is not lost over this
                logger.warning("the latency of a finalist was not measured: %s", error)
                return None

        return [measured(each) for each in finalists]


def _file(
    finalist: nn.Module, template: OnnxTemplate, input_shape: tuple[int, ...], target: Target
) -> bytes:
    if not rounds_inputs(finalist):
        return template.bytes_of(finalist)
    has_integer_biases = engine_of(target) == ONNX_RUNTIME
    written = onnx_bytes(finalist, input_shape)
    return with_integer_layers(written, has_integer_biases=has_integer_biases)[0]
