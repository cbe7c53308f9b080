"""Tables of layer times, measured in real engines on a small network."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.quantised_network import quantise_network
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    LayerChoice,
    SpaceOptions,
    StudySpec,
)
from automl_compress.core.errors import InvalidInput, ModelInvalid, UnknownName
from automl_compress.costs import compression_space
from automl_compress.costs.latency_model import LatencyModel
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate import study_latency
from automl_compress.evaluate.latency import LatencyMeasurement, measure_latency
from automl_compress.evaluate.latency_calibration import fitted_weights, integer_candidates
from automl_compress.evaluate.latency_tables import measure_table
from automl_compress.evaluate.study_latency import finalist_latencies, study_table
from automl_compress.search.compression import compress_network
from automl_compress.targets import Target
from tests.automl_compress.evaluate.splits import NORMALISATION, split
from tests.automl_compress.export.conftest import NEEDS_ONNX, NEEDS_OPENVINO
from tests.automl_compress.networks import zoo

TARGETS = [
    pytest.param("cpu-onnxruntime", marks=NEEDS_ONNX),
    pytest.param("cpu-openvino", marks=NEEDS_OPENVINO),
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_table_covers_the_space_and_knows_what_is_slow(target: Target) -> None:
    network = zoo.traced("plain-20")
    space = compression_space(network.graph, SpaceOptions())

    table = measure_table(network, space, target, most_entries=4)

    assert all(each.nanoseconds.size <= 4 for each in table.times)
    model = LatencyModel(network.graph, table)
    full, small = model.latency_ns(space.largest), model.latency_ns(space.smallest)
    assert small < full  # a tenth of all channels
    predicted, measured = zip(*table.calibration.checks, strict=True)
    assert predicted[0] == pytest.approx(full, rel=0.01)
    assert measured[1] < measured[0]
    assert (table.target, table.batch) == (target, 1)


@NEEDS_OPENVINO
def test_layers_of_few_bits_are_measured_in_int8() -> None:
    network = zoo.traced("lenet-5")
    layers = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    options = SpaceOptions(weight_bits=(8, 32), activation_bits=(8, 32), skip=(layers[-1],))
    space = compression_space(network.graph, options)

    table = measure_table(network, space, "cpu-openvino", most_entries=1)

    in_int8 = [each.shape for each in table.times if each.shape.is_integer]
    assert [shape.kind for shape in in_int8] == ["convolution", "convolution", "linear"]
    # In the last network that was measured every layer that may be is in int8.
    model, full = LatencyModel(network.graph, table), network.graph.full_widths
    predicted, measured = table.calibration.checks[-1]
    assert predicted == pytest.approx(measured, rel=0.3)
    everything = np.array([name in integer_candidates(space) for name in layers])
    assert model.latency_ns(full, everything) <= model.latency_ns(full)


def test_weights_are_found_again_and_no_layers_are_for_nothing() -> None:
    generator = np.random.default_rng(0)
    features = np.column_stack([np.ones(16), generator.uniform(1, 9, (16, 4))])
    weights = np.array([3.0, 0.7, 0.2, 0.4, 0.1])
    assert fitted_weights(features, features @ weights) == pytest.approx(weights, rel=1e-3)

    floats_alone = features * [1, 1, 1, 0, 0]
    assert fitted_weights(floats_alone, floats_alone @ weights)[3] == 0
    # Noise that gives layers in int8 no time: they get the factor of the others.
    free = features * [1, 1, 1, 1, 0]
    found = fitted_weights(free, free @ [3.0, 0.7, 0.2, -0.05, 0.0])
    assert found[1] == found[3] > 0


@NEEDS_ONNX
def test_a_search_under_a_latency_budget_returns_what_fits_and_how_fast_it_was() -> None:
    network = zoo.traced("plain-20")
    space = compression_space(network.graph, SpaceOptions())
    table = measure_table(network, space, "cpu-onnxruntime", most_entries=4)
    splits = {
        name: split(name, 20, seed, size=network.graph.input_shape[-1], classes=10)
        for seed, name in enumerate(("train", "search", "test"))
    }
    shape = network.graph.input_shape
    data = ImageData("made up", 10, shape, NORMALISATION, Augmentation(), splits)
    study = StudySpec(
        "random",
        Budget("latency_ns", 0.9),
        Effort(evaluations=3),
        confirmation=Confirmation(finetune_epochs=0),
        target="cpu-onnxruntime",
    )

    found = compress_network(
        network.module, data, study, has_progress_bar=False, latency_table=table
    )

    document = found.policy
    assert 0 < document.after.latency_ns <= 0.9 * document.before.latency_ns
    in_layers = sum(row.before.latency_ns for row in document.layers)
    assert 0 < in_layers < document.before.latency_ns
    assert document.latency is not None
    assert document.latency["target"] == "cpu-onnxruntime"
    assert document.latency["ratio"] < 1.1  # a tenth faster, and what a busy machine adds
    assert type(document).from_json(document.to_json()) == document


@NEEDS_ONNX
def test_a_finalist_on_which_the_engine_fails_is_kept_without_a_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*arguments: object) -> None:
        raise ModelInvalid("made up")

    monkeypatch.setattr(study_latency, "measure_latency", crash)
    network = zoo.traced("lenet-5")
    budget, effort = Budget("macs", 0.5), Effort(evaluations=1)
    study = StudySpec("random", budget, effort, target="cpu-onnxruntime")

    assert finalist_latencies(network, study, [network.module]) == [None]


@NEEDS_ONNX
def test_finalists_are_kept_without_a_latency_where_no_file_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "unmounted"))
    network = zoo.traced("lenet-5")
    budget, effort = Budget("macs", 0.5), Effort(evaluations=1)
    study = StudySpec("random", budget, effort, target="cpu-onnxruntime")

    assert finalist_latencies(network, study, [network.module] * 2) == [None, None]


@NEEDS_OPENVINO
def test_a_quantised_finalist_is_measured_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[bytes] = []
    real = measure_latency

    def spy(path: Path, *rest: Any) -> LatencyMeasurement:
        files.append(path.read_bytes())
        return real(path, *rest)

    monkeypatch.setattr(study_latency, "measure_latency", spy)
    network = zoo.traced("lenet-5")
    layers = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    choices = {name: LayerChoice(name, 0.0, 8, 8) for name in layers}
    batches = [(torch.randn(8, *network.graph.input_shape), torch.zeros(8, dtype=torch.int64))]
    grids = InputGrids(network.module, layers, batches)
    eight_bits = {name: grids.of(name, 8) for name in layers}
    finalist = quantise_network(network.module, choices, {}, eight_bits).module
    budget, effort = Budget("macs", 0.5), Effort(evaluations=1)
    study = StudySpec("random", budget, effort, target="cpu-openvino")

    (latency,) = finalist_latencies(network, study, [finalist])

    assert latency is not None
    assert latency.ratio > 0
    assert b"QuantizeLinear" in files[0]


def test_a_target_that_nobody_knows_is_refused() -> None:
    network = zoo.traced("lenet-5")
    study = StudySpec("random", Budget("macs", 0.5), Effort(evaluations=1), target="cpu-toaster")

    with pytest.raises(UnknownName, match="cpu-toaster"):
        study_table(network, study)


def test_a_latency_budget_needs_a_target() -> None:
    with pytest.raises(InvalidInput, match="names no target"):
        StudySpec("random", Budget("latency_ns", 0.5), Effort(evaluations=1))
