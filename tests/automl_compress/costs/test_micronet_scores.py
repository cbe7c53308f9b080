"""Scores in costs and budgets: those of the slow count, and never above it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from automl_compress.core import Budget, ElementwiseUse, LayerChoice, LayerGraph, Policy
from automl_compress.costs import LayerBits, PolicyCosts
from automl_compress.costs.micronet import micronet_count
from automl_compress.networks.elementwise import elementwise_uses
from automl_compress.networks.surgery import cut_module
from automl_compress.networks.trace import trace
from tests.automl_compress.networks import zoo
from tests.fakes import plain_graph, residual_graph, space_of

NETWORKS = ("lenet-5", "resnet-20", "mobilenet-v2", "densenet-bc-100")


def slow_score(graph: LayerGraph, policy: Policy) -> float:
    bits = {
        each.layer: LayerBits(
            each.weight_bits,
            each.activation_bits,
            each.sparsity,
            has_codebooks=each.quantiser == "kmeans",
            weight_scales=each.weight_scales,
        )
        for each in policy.layers
    }
    return 1e9 * micronet_count(graph, policy.widths(graph), bits).score("cifar100")


def drawn(graph: LayerGraph, bits: tuple[int, ...], seed: int) -> Policy:
    """Return a policy that quantises every layer, weights and inputs."""
    rng = np.random.default_rng(seed)
    widths = [int(rng.integers(1, width + 1)) for width in graph.full_widths]
    layers = tuple(
        LayerChoice(
            layer.name,
            float(rng.choice([0.0, 0.5, 0.8])),
            int(rng.choice(bits)),
            int(rng.choice(bits)),
        )
        for layer in graph.layers
        if layer.kind != "other"
    )
    return replace(Policy.from_widths(graph, widths), layers=layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_float_networks_score_as_the_slow_count_has_it(name: str) -> None:
    graph, rng = zoo.traced(name).graph, np.random.default_rng(0)
    costs = PolicyCosts(graph)
    for _ in range(10):
        widths = [int(rng.integers(1, width + 1)) for width in graph.full_widths]
        policy = Policy.from_widths(graph, widths)

        # The slow count rounds each layer's share of operations between layers down.
        assert costs.cost(policy).micronet == pytest.approx(slow_score(graph, policy), rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_quantised_networks_never_score_above_the_slow_count(name: str) -> None:
    graph = zoo.traced(name).graph
    costs = PolicyCosts(graph)
    for seed in range(10):
        policy = drawn(graph, (2, 4, 8), seed)

        score, slow = costs.cost(policy).micronet, slow_score(graph, policy)

        assert 0.5 * slow < score <= slow * (1 + 1e-5) + 1


def one_layer(graph: LayerGraph, choice: LayerChoice) -> Policy:
    return replace(Policy.from_widths(graph, graph.full_widths), layers=(choice,))


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("inputs", [4, 32])
def test_codebooks_are_parameters_of_32_bits_whose_values_multiply_as_floats(
    inputs: int, sparsity: float
) -> None:
    # 128 -> 64 channels, 3x3: 1,152 weights an output, room for codebooks of 16 values.
    graph = plain_graph((128, 64))
    layer = next(each for each in graph.layers if each.name == "convolution1")
    positions = next(t for t in graph.tensors if t.name == layer.weight).positions
    shared, scaled = (
        one_layer(graph, LayerChoice("convolution1", sparsity, 4, inputs, quantiser))
        for quantiser in ("kmeans", "scan")
    )

    score, slow = PolicyCosts(graph).cost(shared).micronet, slow_score(graph, shared)
    more = score - PolicyCosts(graph).cost(scaled).micronet

    # Inputs that multiply floats may be taken for floats, and then need no scale.
    input_scale = int(inputs < 32)
    assert score == pytest.approx(slow - 1e9 * input_scale / 36.5e6, abs=2)
    # 64 codebooks of 16 floats in place of 64 scales; no scale to multiply with.
    parameters = (64 * 16 - 64 - input_scale) / 36.5e6
    products = round(64 * 1152 * (1 - sparsity)) * (32 - max(4, inputs)) / 32
    operations = positions * (products - 64) / 10.49e9
    assert more == pytest.approx(1e9 * (parameters + operations), abs=2)


def test_a_layer_too_small_for_codebooks_is_counted_with_scales() -> None:
    graph = plain_graph((16, 8))
    shared, scaled = (
        PolicyCosts(graph).cost(
            one_layer(graph, LayerChoice("convolution1", weight_bits=4, quantiser=quantiser))
        )
        for quantiser in ("kmeans", "scan")
    )

    assert shared.micronet == scaled.micronet


@pytest.mark.parametrize("name", ["lenet-5", "resnet-20"])
def test_one_scale_is_stored_once_and_multiplies_every_output(name: str) -> None:
    graph = zoo.traced(name).graph
    for layer in [each for each in graph.layers if each.kind != "other"]:
        channels, tensor = (
            one_layer(graph, LayerChoice(layer.name, weight_bits=4, weight_scales=scales))
            for scales in ("channel", "tensor")
        )
        outputs = next(t for t in graph.tensors if t.name == layer.weight).axes[0]
        fewer = outputs.size(graph.full_widths) - 1

        for count in (lambda policy: PolicyCosts(graph).cost(policy).micronet, None):
            count = count or (lambda policy: slow_score(graph, policy))
            saved = count(channels) - count(tensor)
            assert saved == pytest.approx(1e9 * fewer / 36.5e6, abs=2)


def test_wide_layers_of_few_bits_score_as_the_slow_count_has_it() -> None:
    # There is next to nothing to gain by taking them for floats, or by leaving out masks.
    graph = plain_graph((64, 64))
    for seed in range(10):
        policy = Policy.from_widths(graph, graph.full_widths)
        policy = replace(policy, layers=drawn(graph, (4, 5, 8), seed).layers)

        assert PolicyCosts(graph).cost(policy).micronet == pytest.approx(
            slow_score(graph, policy), rel=1e-3
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cut_network_itself_scores_what_was_promised(
    name: str, rng: np.random.Generator
) -> None:
    network = zoo.traced(name)
    kept = [
        torch.from_numpy(np.sort(rng.permutation(n)[: int(rng.integers(1, n + 1))]))
        for n in network.graph.full_widths
    ]
    promised = PolicyCosts(network.graph).cost(
        Policy.from_widths(network.graph, [len(each) for each in kept])
    )

    cut = trace(cut_module(network.module, network.plan, kept).eval(), network.graph.input_shape)

    assert cut.graph.elementwise == elementwise_uses(cut.module, cut.graph)
    assert PolicyCosts(cut.graph).full.micronet == pytest.approx(promised.micronet, rel=1e-5)


def test_one_bit_in_front_of_quantised_inputs_is_counted_as_in_front_of_floats() -> None:
    # By the rules, inputs may be taken as floats for nothing, whose sign a weight flips.
    graph = plain_graph((64, 64))
    policy = Policy.from_widths(graph, graph.full_widths)

    def score(inputs: int) -> int:
        layers = (LayerChoice("convolution1", 0.0, 1, inputs),)
        return PolicyCosts(graph).cost(replace(policy, layers=layers)).micronet

    assert score(8) == score(32) < score(32) + 1 <= PolicyCosts(graph).full.micronet


def test_operations_between_layers_shrink_with_the_layer_before_them() -> None:
    graph = plain_graph((8,))
    uses = (ElementwiseUse("", 100, 0), ElementwiseUse("convolution0", 512, 512))
    busier = replace(graph, elementwise=uses)

    def more(width: int) -> float:
        with_uses, without = (
            PolicyCosts(each).cost(Policy.from_widths(each, [width])).micronet
            for each in (busier, graph)
        )
        return with_uses - without

    # 10.49 billion operations of the baseline score a billion billionths.
    assert more(8) == pytest.approx(1124 / 10.49, abs=1)
    assert more(4) == pytest.approx(612 / 10.49, abs=1)


def test_a_budget_of_the_score_is_kept_by_repair() -> None:
    space = space_of(
        residual_graph(),
        schemes=("channel", "element"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(4, 8),
    )
    budget = Budget("micronet", 0.2)

    for setting in (space.uniform(budget), space.sample(np.random.default_rng(0), budget)):
        kept = space.costs.cost(setting).micronet / space.full.micronet
        assert 0.15 < kept <= 0.2
