"""Training with weights on their grids: what is trained with is what is quantised afterwards."""

import copy

import pytest
import torch
from torch import nn

from automl_compress.compress.quantised_network import quantise_network
from automl_compress.core import LayerChoice
from automl_compress.core.weight_grids import WeightScales
from automl_compress.data.datasets import ImageData
from automl_compress.data.loading import load_data
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import Network, trace
from automl_compress.train.config import TrainingConfig
from automl_compress.train.demo import DEMO_ARCHITECTURE, DEMO_CONFIG, DEMO_WEIGHTS
from automl_compress.train.quantised_training import compressed_before, train_quantised

CONFIG = TrainingConfig(epochs=1, learning_rate=0.01, seed=0)


@pytest.fixture(scope="module")
def network() -> Network:
    module = build_network(DEMO_ARCHITECTURE, DEMO_CONFIG)
    load_weights(module, DEMO_WEIGHTS)
    return trace(module, (1, 8, 8))


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits")


def choices_of(network: Network, bits: int, scales: WeightScales) -> dict[str, LayerChoice]:
    return {
        layer.name: LayerChoice(layer.name, weight_bits=bits, weight_scales=scales)
        for layer in network.graph.layers
        if layer.kind != "other"
    }


def accuracy(module: nn.Module, data: ImageData) -> float:
    right = total = 0
    with torch.inference_mode():
        for images, labels in data.split("test").batches(200):
            right += int((module.eval()(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


@pytest.mark.parametrize("scales", ["channel", "tensor"])
def test_what_is_trained_with_is_what_the_folded_network_holds(
    network: Network, data: ImageData, scales: WeightScales
) -> None:
    module, norms = copy.deepcopy(network.module), network.plan.norm_after
    choices = choices_of(network, 4, scales)

    train_quantised(module, choices, {}, norms, data, CONFIG)
    unfolded = copy.deepcopy(module)
    for name, choice in choices.items():
        norm = module.get_submodule(norms[name]) if name in norms else None
        layer = unfolded.get_submodule(name)
        weight = compressed_before(module.get_parameter(f"{name}.weight").detach(), norm, choice)
        layer.weight = nn.Parameter(weight)
    folded = quantise_network(module, choices, norms, {})

    images = next(iter(data.split("test").batches(50)))[0]
    with torch.inference_mode():
        expected, found = unfolded(images), folded.module(images)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
    for name in choices:
        codes = folded.codes[f"{name}.weight"]
        outputs = len(module.get_parameter(f"{name}.weight"))
        assert len(codes.grid.values) == (outputs if scales == "channel" else 1)
        assert (codes.grid.axis is None) == (scales == "tensor")


def test_training_with_one_scale_gains_what_quantising_lost(
    network: Network, data: ImageData
) -> None:
    norms, choices = network.plan.norm_after, choices_of(network, 3, "tensor")
    trained = copy.deepcopy(network.module)

    train_quantised(trained, choices, {}, norms, data, CONFIG)

    before, after = (
        accuracy(quantise_network(each, choices, norms, {}).module, data)
        for each in (network.module, trained)
    )
    assert after > before + 0.02
    assert after > 0.9
