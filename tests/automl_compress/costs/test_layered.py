"""Costs of quantised and sparse layers: under the contract, and against slower counts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from automl_compress.core import CompressionSpace, CostModel, LayerChoice, LayerGraph, Policy
from automl_compress.core.errors import PolicyMismatch
from automl_compress.core.weight_grids import WeightScales
from automl_compress.costs import AnalyticCosts, LayerBits, PolicyCosts, bit_operations
from tests.automl_compress.networks import zoo
from tests.contracts.cost_model import CostModelContract
from tests.fakes import plain_graph, residual_graph, space_of

BITS = (2, 3, 4, 5, 6, 7, 8, 16, 32)
SHARED_BITS = (2, 3, 4, 5, 6, 7, 8, 32)


def opened(
    graph: LayerGraph, quantiser: str = "scan", weight_scales: WeightScales = "channel"
) -> CompressionSpace:
    return space_of(
        graph,
        weight_scales=weight_scales,
        quantiser=quantiser,
        max_sparsity=0.99,
        schemes=("channel", "element"),
        weight_bits=SHARED_BITS if quantiser == "kmeans" else BITS,
        activation_bits=BITS,
        edge_bits=None,
    )


class TestSettingCosts(CostModelContract):
    @pytest.fixture(params=["made up", "lenet-5", "resnet-20", "mobilenet-v2", "densenet-bc-100"])
    def graph(self, request: pytest.FixtureRequest) -> LayerGraph:
        return residual_graph() if request.param == "made up" else zoo.traced(request.param).graph

    @pytest.fixture
    def costs(self, graph: LayerGraph) -> CostModel:
        return opened(graph).costs

    @pytest.fixture
    def allowed(self, graph: LayerGraph) -> list[Sequence[int]]:
        return list(opened(graph).allowed)

    def test_a_policy_costs_what_its_setting_costs(
        self, graph: LayerGraph, drawn: list[list[int]]
    ) -> None:
        space, of_policies = opened(graph), PolicyCosts(graph)

        for setting in drawn:
            assert of_policies.cost(space.policy(setting)) == space.costs.cost(setting)

    def test_bit_operations_are_those_of_the_slow_count(
        self, graph: LayerGraph, drawn: list[list[int]]
    ) -> None:
        space = opened(graph)
        for setting in drawn:
            policy = space.policy(setting)
            bits = {
                each.layer: LayerBits(each.weight_bits, each.activation_bits)
                for each in policy.layers
            }
            dense = replace(
                policy, layers=tuple(replace(each, sparsity=0.0) for each in policy.layers)
            )
            counted = bit_operations(graph, policy.widths(graph), bits)

            assert PolicyCosts(graph).cost(dense).bit_operations == counted


class TestSettingCostsOfSharedWeights(CostModelContract):
    @pytest.fixture(params=["made up", "lenet-5", "resnet-20", "mobilenet-v2"])
    def graph(self, request: pytest.FixtureRequest) -> LayerGraph:
        return residual_graph() if request.param == "made up" else zoo.traced(request.param).graph

    @pytest.fixture
    def costs(self, graph: LayerGraph) -> CostModel:
        return opened(graph, "kmeans").costs

    @pytest.fixture
    def allowed(self, graph: LayerGraph) -> list[Sequence[int]]:
        return list(opened(graph, "kmeans").allowed)

    def test_a_policy_costs_what_its_setting_costs(
        self, graph: LayerGraph, drawn: list[list[int]]
    ) -> None:
        space, of_policies = opened(graph, "kmeans"), PolicyCosts(graph)

        for setting in drawn:
            assert of_policies.cost(space.policy(setting)) == space.costs.cost(setting)


class TestSettingCostsOfOneScale(CostModelContract):
    @pytest.fixture(params=["made up", "lenet-5", "resnet-20"])
    def graph(self, request: pytest.FixtureRequest) -> LayerGraph:
        return residual_graph() if request.param == "made up" else zoo.traced(request.param).graph

    @pytest.fixture
    def costs(self, graph: LayerGraph) -> CostModel:
        return opened(graph, weight_scales="tensor").costs

    @pytest.fixture
    def allowed(self, graph: LayerGraph) -> list[Sequence[int]]:
        return list(opened(graph, weight_scales="tensor").allowed)

    def test_a_policy_costs_what_its_setting_costs(
        self, graph: LayerGraph, drawn: list[list[int]]
    ) -> None:
        space, of_policies = opened(graph, weight_scales="tensor"), PolicyCosts(graph)

        for setting in drawn:
            assert of_policies.cost(space.policy(setting)) == space.costs.cost(setting)


def test_one_scale_takes_the_place_of_those_of_channels() -> None:
    plain, normalised = plain_graph([16, 8]), zoo.traced("resnet-20").graph
    for graph, layer, outputs in ((plain, "convolution1", 8), (normalised, "conv1", 16)):
        whole = Policy.from_widths(graph, graph.full_widths)

        def size(scales: WeightScales, graph=graph, layer=layer, whole=whole) -> int:
            choice = LayerChoice(layer, weight_bits=4, weight_scales=scales)
            return PolicyCosts(graph).cost(replace(whole, layers=(choice,))).size_bytes

        assert size("channel") - size("tensor") == 4 * (outputs - 1)


def test_codebooks_are_counted_where_they_pay() -> None:
    # Of a convolution 16 -> 8, each channel has 144 weights: room for 4 values, not for 8.
    graph = plain_graph([16, 8])
    plain = Policy.from_widths(graph, [16, 8])

    def size(quantiser: str, bits: int) -> int:
        choice = LayerChoice("convolution1", weight_bits=bits, quantiser=quantiser)
        return PolicyCosts(graph).cost(replace(plain, layers=(choice,))).size_bytes

    assert size("kmeans", 2) == size("scan", 2) + 8 * 4 * 4
    assert size("kmeans", 3) == size("scan", 3)


def test_plain_network_by_hand() -> None:
    # A 3x3 convolution from 3 to 8 channels on 8x8 pixels with bias, a linear layer to 10.
    graph = plain_graph([8])
    plain = Policy.from_widths(graph, [8])
    choices = (LayerChoice("convolution0", 0.5, 4, 8), LayerChoice("classifier", weight_bits=2))

    cost = PolicyCosts(graph).cost(replace(plain, layers=choices))

    # Half of 216 weights: a mask of one bit each, four bits each of the rest. 80 two-bit weights.
    # Scales of 8 and 10 outputs, 8 biases; no norm to take the scales. 3 tensors and the file.
    weights = 216 * 1 + 108 * 4 + 80 * 2
    assert cost.size_bytes == weights / 8 + 4 * (8 + 10 + 8) + 256 + 40 * len(graph.tensors)
    assert cost.bit_operations == 216 * 64 * 0.5 * 4 * 8 + 80 * 2 * 32
    assert (cost.macs, cost.parameters) == (216 * 64 + 80, 216 + 8 + 80)


def test_a_policy_without_layers_costs_what_the_float_network_costs() -> None:
    graph = residual_graph()
    policy = Policy.from_widths(graph, [max(1, width // 2) for width in graph.full_widths])

    assert PolicyCosts(graph).cost(policy) == AnalyticCosts(graph).cost(policy.widths(graph))


def test_a_policy_of_other_layers_is_refused() -> None:
    graph = plain_graph([8])
    policy = replace(Policy.from_widths(graph, [8]), layers=(LayerChoice("elsewhere", 0.5),))

    with pytest.raises(PolicyMismatch, match="elsewhere"):
        PolicyCosts(graph).cost(policy)


def test_settings_and_policies_are_two_forms_of_one_thing() -> None:
    space, rng = opened(residual_graph()), np.random.default_rng(0)
    for _ in range(50):
        setting = tuple(int(rng.choice(values)) for values in space.allowed)

        assert space.setting(space.policy(setting)) == setting
