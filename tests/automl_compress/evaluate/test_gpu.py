"""Scoring, training and recalibration on another device than the processor."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from automl_compress import compress_network
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    LayerChoice,
    Policy,
    PruningNetConfig,
    Recipe,
    SpaceOptions,
    StudySpec,
)
from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.costs import compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate import backends
from automl_compress.evaluate.backends import backend_candidates
from automl_compress.evaluate.candidates import candidates_of
from automl_compress.evaluate.confirm import Confirmer
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.networks import devices
from automl_compress.networks.trace import Network
from automl_compress.train.pruning_net import prepare_pruning_net
from tests.automl_compress.evaluate.splits import NORMALISATION, split, traced
from tests.automl_compress.networks import topologies
from tests.far_device import FAR

IMAGE = (3, 8, 8)
SEARCH, TRAIN = split("search", 50, seed=1), split("train", 40, seed=2)


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu", lambda: FAR)


@pytest.fixture(scope="module")
def network() -> Network:
    return traced(topologies.Classifier(topologies.Residual("option A"), 12))


@pytest.fixture(scope="module")
def data() -> ImageData:
    splits = {"train": TRAIN, "search": SEARCH, "test": split("test", 20, seed=3)}
    return ImageData("made up", 4, IMAGE, NORMALISATION, Augmentation(flip=True), splits)


def half(network: Network) -> Policy:
    return Policy.from_widths(network.graph, [width // 2 for width in network.graph.full_widths])


def test_operands_on_two_devices_are_refused() -> None:
    layer = nn.Linear(3, 2).to(FAR)
    assert layer(torch.ones(1, 3).to(FAR)).device == FAR
    with pytest.raises(RuntimeError, match="some operands are on cpu"):
        layer(torch.ones(1, 3))


@pytest.mark.parametrize("repair", ["none", "reconstruction", "recalibration", "distillation"])
def test_a_gpu_measures_what_the_processor_does(network: Network, repair: str) -> None:
    recipe = Recipe.from_json({"repair": repair, "signal": "kl", "batch_size": 16})
    first, second = (
        PolicyEvaluator(network, SEARCH, TRAIN, replace(recipe, backend=backend))
        for backend in ("torch", "cuda")
    )

    for images in (None, slice(0, 12), slice(12, None)):
        expected = first.evaluate(half(network), images)
        found = second.evaluate(half(network), images)
        assert found.hits == expected.hits
        assert found.kl == pytest.approx(expected.kl, rel=1e-5)
    assert found.recipe.backend == "cuda"
    assert next(network.module.parameters()).device == devices.PROCESSOR


def test_a_network_that_torch_export_cannot_follow(network: Network) -> None:
    dependent = traced(topologies.Classifier(topologies.DataDependent(), 6))
    policy = Policy.from_widths(dependent.graph, [*dependent.graph.full_widths])
    first, second = (
        PolicyEvaluator(dependent, SEARCH, TRAIN, Recipe(repair="none", backend=backend))
        for backend in ("torch", "cuda")
    )

    assert second.evaluate(policy).hits == first.evaluate(policy).hits


def test_layers_that_round_inputs_and_weights(network: Network) -> None:
    graph = network.graph
    layers = [
        LayerChoice(each.name, 0.0, weight_bits=4, activation_bits=4)
        for each in graph.layers
        if each.kind != "other"
    ]
    policy = replace(half(network), layers=tuple(layers))
    first, second = (
        PolicyEvaluator(network, SEARCH, TRAIN, Recipe(repair="none", backend=backend))
        for backend in ("torch", "cuda")
    )

    assert second.evaluate(policy).hits == first.evaluate(policy).hits


def test_the_fastest_way_is_taken(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    in_torch, batches = candidates_of(network), [torch.randn(8, *IMAGE)]
    monkeypatch.setattr(backends, "is_installed", lambda *_: False)

    for gpu_seconds, expected in ((1.7, "cuda"), (1.95, "torch")):
        times = [2.0, gpu_seconds]
        monkeypatch.setattr(backends, "_seconds", lambda ways, *_, t=times: t[: len(ways)])
        assert backend_candidates("auto", network, in_torch, batches)[0] == expected


def test_without_a_gpu_cuda_is_an_error(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu", lambda: None)

    with pytest.raises(InvalidInput, match="torch finds no GPU here; set it to auto"):
        PolicyEvaluator(network, SEARCH, TRAIN, Recipe(backend="cuda"))


def test_what_a_gpu_gets_wrong_is_not_taken(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "difference_on_half", lambda *_: 0.02)

    with pytest.raises(ModelInvalid, match=r"torch on a GPU cannot score .* differ by 2\.0e-02"):
        PolicyEvaluator(network, SEARCH, TRAIN, Recipe(backend="cuda"))


def quantised_study(**confirmation: Any) -> StudySpec:
    return StudySpec(
        "random",
        Budget("size_bytes", 0.5),
        Effort(3),
        space=SpaceOptions(
            schemes=("element",), weight_bits=(3, 4), activation_bits=(4,), edge_bits=None
        ),
        recipe=Recipe(images=20, calibration_images=20, backend="cuda"),
        confirmation=Confirmation(
            top_k=1, finetune_epochs=1, distillation_weight=0.5, **confirmation
        ),
    )


@pytest.mark.parametrize(
    "confirmation",
    [
        {"finetune_scales": "fitted"},
        {"finetune_scales": "fixed"},
        {"finetune_scales": "learned"},
        {"recipe": "micronet"},
    ],
    ids=["fitted", "fixed", "learned", "stages"],
)
def test_a_whole_job_is_computed_there(
    network: Network, data: ImageData, confirmation: dict[str, Any]
) -> None:
    before = {name: value.clone() for name, value in network.module.state_dict().items()}

    result = compress_network(
        network.module, data, quantised_study(**confirmation), has_progress_bar=False
    )

    tensors = [*result.network.state_dict().values()]
    assert {each.device for each in tensors} == {devices.PROCESSOR}
    assert all(torch.equal(value, before[n]) for n, value in network.module.state_dict().items())


def test_training_there_ends_where_it_does_on_the_processor(
    network: Network, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = replace(quantised_study(), recipe=Recipe(images=20, calibration_images=20))
    confirmers = [Confirmer(network, data, study)]
    monkeypatch.setattr(devices, "gpu", lambda: None)
    confirmers.append(Confirmer(network, data, study))
    policy = confirmers[0].explicit(half(network))

    there, here = (each.compressed(policy).module for each in confirmers)

    assert [each.tuning.get("device") for each in confirmers] == ["far", None]
    for found, expected in zip(there.parameters(), here.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_pruning_net_is_trained_there(network: Network, data: ImageData) -> None:
    config = PruningNetConfig(rank=2, epochs=1, batch_size=16, sampling="sandwich")
    recipe = Recipe(repair="recalibration", weights="pruning_net", pruning_net=config)
    space = compression_space(network.graph, SpaceOptions())

    trained = prepare_pruning_net(network, data, space, recipe)

    assert trained is not None
    assert {each.device for each in trained.net.parameters()} == {devices.PROCESSOR}
    parts = network, data.split("search"), data.split("train")
    first, second = (
        PolicyEvaluator(*parts, replace(recipe, images=20, backend=backend), trained.net)
        for backend in ("torch", "cuda")
    )
    assert second.evaluate(half(network)).hits == first.evaluate(half(network)).hits
