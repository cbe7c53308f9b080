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
    plan = LatencyPlan(batch=study.latency_batch)
    # The search is done: its result is not lost over this, nor over a full disk.
    try:
        with TemporaryDirectory() as folder:
            measuring = _Finalists(network, target, plan, Path(folder))
            return [measuring.latency(each) for each in finalists]
    except (ModelInvalid, OSError) as error:
        logger.warning("latencies of finalists were not measured: %s", error)
        return [None] * len(finalists)


class _Finalists:
    """Measures finished networks in turns with the uncut one."""

    def __init__(self, network: Network, target: Target, plan: LatencyPlan, folder: Path) -> None:
        self._template = OnnxTemplate(network)
        self._input_shape = network.graph.input_shape
        self._target: Target = target
        self._plan = plan
        self._uncut, self._cut = folder / "uncut.onnx", folder / "cut.onnx"
        self._uncut.write_bytes(self._template.bytes_of(network.module))

    def latency(self, finalist: nn.Module) -> LatencyMeasurement | None:
        """Measure one; None where the engine fails on it."""
        try:
            self._cut.write_bytes(self._file(finalist))
            return measure_latency(self._cut, self._target, self._uncut, self._plan)
        except ModelInvalid as error:
            logger.warning("the latency of a finalist was not measured: %s", error)
            return None

    def _file(self, finalist: nn.Module) -> bytes:
        if not rounds_inputs(finalist):
            return self._template.bytes_of(finalist)
        has_integer_biases = engine_of(self._target) == ONNX_RUNTIME
        written = onnx_bytes(finalist, self._input_shape)
        return with_integer_layers(written, has_integer_biases=has_integer_biases)[0]
