"""Training with weights on their grids: what is trained with is what is quantised afterwards."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.quantised_network import quantise_network
from automl_compress.compress.quantisers import Grid
from automl_compress.core import LayerChoice
from automl_compress.core.confirmation import TunedScales
from automl_compress.core.errors import InvalidInput
from automl_compress.core.weight_grids import WeightScales
from automl_compress.data.datasets import ImageData
from automl_compress.data.loading import load_data
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import Network, trace
from automl_compress.train.config import TrainingConfig
from automl_compress.train.demo import DEMO_ARCHITECTURE, DEMO_CONFIG, DEMO_WEIGHTS
from automl_compress.train.quantised_training import QuantisedTraining, train_quantised
from automl_compress.train.straight_through import as_folded, compressed_before, on_scale

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


# ------------------------------------------------------------------------- fixed and learned scales


@pytest.mark.parametrize(
    ("grid", "levels"),
    [
        (Grid("linear", 3, torch.ones(1, 1)), [-3, -2, -1, 0, 1, 2, 3]),
        (Grid("linear", 2, torch.ones(1, 1), is_signed=False), [0, 1, 2, 3]),
        (Grid("sign", 1, torch.ones(1, 1)), [-1, 1]),
        (Grid("power_of_two", 3, torch.ones(1, 1)), [-1, -0.5, -0.25, 0, 0.25, 0.5, 1]),
    ],
)
def test_scales_get_the_gradient_of_learned_step_sizes(grid: Grid, levels: list[float]) -> None:
    # Esser et al., equation 3: level - x / s within the grid, the outermost level beyond it.
    x = torch.linspace(-8.05, 8.05, 300).requires_grad_()
    scale = torch.tensor(0.8, requires_grad=True)
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0))

    values = on_scale(x, scale, grid)
    (values * weights).sum().backward()

    ratios = x.detach() / 0.8
    known = torch.tensor(levels)
    nearest = known[(ratios[:, None] - known).abs().argmin(1)]
    is_within = (ratios >= known[0]) & (ratios <= known[-1])
    expected = torch.where(is_within, nearest - ratios, nearest)
    assert torch.allclose(values.detach(), 0.8 * nearest, atol=1e-6)
    assert x.grad is not None
    assert torch.allclose(x.grad, weights * is_within, atol=1e-6)
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(float((weights * expected).sum()), rel=1e-4)


def rounded_inputs(network: Network, data: ImageData, bits: int) -> dict[str, Grid]:
    layers = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    batches = [next(iter(data.split("train").batches(64)))]
    grids = InputGrids(network.module, layers, batches)
    return {name: grids.of(name, bits) for name in layers}


def without_norm(network: Network, module: nn.Module, name: str, grid: Grid) -> torch.Tensor:
    """Return a layer's scales before the norm behind it was folded in."""
    norm = network.plan.norm_after.get(name)
    if norm is None or grid.axis is None:
        return grid.values
    ones = torch.ones_like(grid.values)
    return grid.values / as_folded(ones, module.get_submodule(norm)).abs()


@pytest.mark.parametrize("weight_scales", ["channel", "tensor"])
def test_learned_scales_move_and_fixed_ones_stay(
    network: Network, data: ImageData, weight_scales: WeightScales
) -> None:
    norms, choices = network.plan.norm_after, choices_of(network, 3, weight_scales)
    inputs = rounded_inputs(network, data, 4)
    codes = quantise_network(network.module, choices, norms, {}).codes
    found: dict[TunedScales, QuantisedTraining] = {}
    modules: dict[TunedScales, nn.Module] = {}
    for scales in ("fixed", "learned"):
        module = modules[scales] = copy.deepcopy(network.module)
        names = list(module.state_dict())
        found[scales] = train_quantised(module, choices, inputs, norms, data, CONFIG, scales=scales)
        assert list(module.state_dict()) == names
        assert not any(layer._forward_pre_hooks for layer in module.modules())

    for name in choices:
        before = without_norm(network, network.module, name, codes[f"{name}.weight"].grid)
        fixed, learned = (
            without_norm(network, modules[scales], name, found[scales].weights[name])
            for scales in ("fixed", "learned")
        )
        assert torch.allclose(fixed, before, rtol=1e-5, atol=0)
        assert not torch.isclose(learned, before, rtol=1e-5, atol=0).all()
        assert torch.equal(found["fixed"].inputs[name].values, inputs[name].values)
        moved = found["learned"].inputs[name].values / inputs[name].values
        assert moved != 1
        assert 0.2 < moved < 5


@pytest.mark.parametrize("weight_scales", ["channel", "tensor"])
@pytest.mark.parametrize("scales", ["fixed", "learned"])
def test_the_quantised_network_has_the_scales_that_were_trained(
    network: Network, data: ImageData, weight_scales: WeightScales, scales: TunedScales
) -> None:
    norms, module = network.plan.norm_after, copy.deepcopy(network.module)
    choices = {
        name: replace(choice, sparsity=0.3)
        for name, choice in choices_of(network, 3, weight_scales).items()
    }
    inputs = rounded_inputs(network, data, 4)
    blind = quantise_network(module, choices, norms, inputs).module

    trained = train_quantised(module, choices, inputs, norms, data, CONFIG, scales=scales)
    quantised = quantise_network(module, choices, norms, trained.inputs, trained.weights)

    for name in choices:
        codes = quantised.codes[f"{name}.weight"]
        assert codes.grid is trained.weights[name]
        share = float((codes.codes == 0).float().mean())
        assert share >= 0.3 - 1 / codes.codes.numel()
    assert accuracy(quantised.module, data) > accuracy(blind, data) + 0.02


def test_codebooks_have_no_scales_to_keep_or_learn(network: Network, data: ImageData) -> None:
    last = [layer.name for layer in network.graph.layers if layer.kind != "other"][1]
    choices = {last: LayerChoice(last, weight_bits=2, quantiser="kmeans")}

    with pytest.raises(InvalidInput, match="'kmeans', which has no scales"):
        train_quantised(
            copy.deepcopy(network.module), choices, {}, {}, data, CONFIG, scales="learned"
        )
