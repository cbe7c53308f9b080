"""Random cuts of every network of the zoo, and Torch-Pruning as an oracle."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from automl_compress.costs import AnalyticCosts
from automl_compress.networks.shortcut import ZeroPadShortcut
from automl_compress.networks.surgery import cut_module, masked_module
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks import topologies, zoo
from tests.automl_compress.networks.counting import (
    counted_cost,
    random_kept,
    relative_difference,
    settled,
    without_score,
)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_cut_network_computes_what_the_masked_one_does(name: str, rng: np.random.Generator) -> None:
    network = zoo.traced(name)
    images = torch.randn(3, *network.graph.input_shape)

    for _ in range(3):
        kept = random_kept(network.plan, rng)
        with torch.no_grad():
            cut = cut_module(network.module, network.plan, kept)(images)
            masked = masked_module(network.module, network.plan, kept)(images)

        assert relative_difference(cut, masked) < 1e-5


@pytest.mark.parametrize("name", zoo.NAMES)
def test_analytic_costs_are_what_the_cut_network_counts(
    name: str, rng: np.random.Generator
) -> None:
    network = zoo.traced(name)
    costs = AnalyticCosts(network.graph)

    for _ in range(3):
        kept = random_kept(network.plan, rng)
        cut = cut_module(network.module, network.plan, kept)

        widths = [len(each) for each in kept]
        assert without_score(costs.cost(widths)) == counted_cost(cut, network.graph.input_shape)


@pytest.mark.parametrize("name", [name for name in zoo.NAMES if name != "mixnet-s"])
def test_every_layer_but_the_last_can_be_cut(name: str) -> None:
    graph = zoo.traced(name).graph

    produced = {layer for group in graph.groups for layer in group.producers}
    layers = [layer.name for layer in graph.layers if layer.kind != "other"]
    assert [layer for layer in layers if layer not in produced] == [layers[-1]]


def test_channels_that_kernels_of_several_sizes_share_out_stay_whole_and_say_so() -> None:
    graph = zoo.traced("mixnet-s").graph

    whole = {layer for obstacle in graph.obstacles for layer in obstacle.layers}
    assert "features.7.layers.3.convolutions.1" in whole
    assert all(each.operator for each in graph.obstacles)
    cut = [layer for group in graph.groups for layer in group.producers if layer not in whole]
    assert {"features.0", "features.6.layers.7", "features.6.layers.6.reduce"} <= set(cut)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_groups_stand_in_the_order_of_the_forward_pass(name: str) -> None:
    graph = zoo.traced(name).graph
    place = {layer.name: index for index, layer in enumerate(graph.layers)}

    first_producers = [place[group.producers[0]] for group in graph.groups]

    assert first_producers == sorted(first_producers)


def test_a_residual_stage_is_one_group() -> None:
    graph = zoo.traced("resnet-20").graph

    stages = [group for group in graph.groups if len(group.producers) > 1]
    # Stem and three blocks; then three blocks each, whose shortcuts are padded with zeros.
    assert [(group.name, len(group.producers)) for group in stages] == [
        ("conv1", 4),
        ("layer2.0.conv2", 3),
        ("layer3.0.conv2", 3),
    ]


def pruned_by_torch_pruning(network: Network, kept: list[Tensor]) -> nn.Module:
    module = copy.deepcopy(network.module)
    dependencies = torch_pruning.DependencyGraph()
    images = torch.zeros(2, *network.graph.input_shape)
    with torch.enable_grad():
        dependencies.build_dependency(module, images.requires_grad_(), verbose=False)
    for group, stays in zip(network.graph.groups, kept, strict=True):
        gone = sorted(set(range(group.channels)) - set(stays.tolist()))
        if gone:
            root = module.get_submodule(group.producers[0])
            prune = dependencies.get_pruner_of_module(root).prune_out_channels
            dependencies.get_pruning_group(root, prune, gone).prune()
    return module


def residual_with_projection() -> Network:
    module = topologies.Classifier(topologies.Residual("projection"), 12)
    return trace(settled(module, (3, 8, 8)), (3, 8, 8))


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: zoo.traced("mobilenet-v2"), id="mobilenet-v2"),
        pytest.param(lambda: zoo.traced("squeezenet"), id="squeezenet"),
        pytest.param(residual_with_projection, id="projection"),
    ],
)
def test_torch_pruning_cuts_the_same_network(
    build: Callable[[], Network], rng: np.random.Generator
) -> None:
    traced = build()
    kept = random_kept(traced.plan, rng)
    images = torch.randn(3, *traced.graph.input_shape)

    expected = pruned_by_torch_pruning(traced, kept)
    found = cut_module(traced.module, traced.plan, kept)

    with torch.no_grad():
        assert relative_difference(found(images), expected(images)) < 1e-5
    shapes = {name: tensor.shape for name, tensor in found.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in expected.state_dict().items()}


def test_zero_padded_shortcut_shows_what_is_left_of_its_input() -> None:
    network = zoo.traced("resnet-20")
    kept = [torch.arange(channels) for channels in network.plan.channels]
    stem = network.graph.group_index["conv1"]
    kept[stem] = torch.tensor([0, 5, 15])

    cut = cut_module(network.module, network.plan, kept)

    shortcut = cut.get_submodule("layer2.0.shortcut")
    assert isinstance(shortcut, ZeroPadShortcut)
    # 16 channels stood at 8 to 23 of 32; the three that stay are its inputs 0, 1, 2.
    shown = {8: 0, 8 + 5: 1, 8 + 15: 2}
    assert shortcut.source.tolist() == [shown.get(place, 3) for place in range(32)]


def test_cutting_leaves_the_network_itself_alone() -> None:
    network = zoo.traced("lenet-5")
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}

    cut = cut_module(
        network.module, network.plan, random_kept(network.plan, rng=np.random.default_rng(0))
    )
    with torch.no_grad():
        for parameter in cut.parameters():
            parameter.zero_()

    found = network.module.state_dict()
    assert all(torch.equal(before[name], found[name]) for name in before)
