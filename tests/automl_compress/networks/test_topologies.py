"""One small network for each way in which channels hang together: groups, cuts and costs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from automl_compress.core import LayerGraph
from automl_compress.core.errors import ModelInvalid, WeightsMismatch
from automl_compress.costs import AnalyticCosts
from automl_compress.networks.outputs import select_output
from automl_compress.networks.surgery import cut_module, masked_module
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks import topologies as made
from tests.automl_compress.networks.counting import (
    counted_cost,
    random_kept,
    relative_difference,
    settled,
    without_score,
)

IMAGE = (3, 8, 8)
CUTS = 6  # random ones, of each network


@dataclass(frozen=True)
class Case:
    """A network, and its groups as (name, channels), in the order of the forward pass."""

    build: Callable[[], nn.Module]
    groups: dict[str, int]
    input_shape: tuple[int, ...] = IMAGE


def on_body(build: Callable[[], nn.Module], channels: int) -> Callable[[], nn.Module]:
    return lambda: made.Classifier(build(), channels)


# Grouped convolutions tie the channels that lie alike in each of their groups: 8 become 4 or 2.
CUTTABLE = {
    "identity shortcut": Case(
        on_body(lambda: made.Residual("identity"), 8), {"body.stem.0": 8, "body.first.0": 8}
    ),
    "projection shortcut": Case(
        on_body(lambda: made.Residual("projection"), 12),
        {"body.stem.0": 8, "body.first.0": 12, "body.second.0": 12},
    ),
    "zero-padded shortcut": Case(
        on_body(lambda: made.Residual("option A"), 12),
        {"body.stem.0": 8, "body.first.0": 12, "body.second.0": 12},
    ),
    "grouped residual": Case(
        on_body(lambda: made.Residual("identity", groups=2), 8),
        {"body.stem.0": 4, "body.first.0": 4},
    ),
    "grouped residual with projection": Case(
        on_body(lambda: made.Residual("projection", groups=4), 12),
        {"body.stem.0": 2, "body.first.0": 3, "body.second.0": 3},
    ),
    "depthwise pair": Case(made.depthwise_pair, {"body.0.0": 8, "body.2": 6}),
    "depthwise with a multiplier": Case(made.depthwise_multiplier, {"body.1.0": 2, "body.2.0": 6}),
    "two groups": Case(lambda: made.grouped(2), {"body.0.0": 4, "body.1.0": 8, "body.2.0": 6}),
    "four groups": Case(lambda: made.grouped(4), {"body.0.0": 2, "body.1.0": 4, "body.2.0": 6}),
    "concatenations": Case(
        on_body(made.Concatenation, 8),
        {"body.stem.0": 4, "body.left.0": 6, "body.right.0": 5, "body.last.0": 8},
    ),
    "flatten": Case(lambda: made.Flattened(8, 8), {"convolution": 6, "hidden": 10}),
    "flatten of a grey strip": Case(
        lambda: made.Flattened(6, 10, channels=1), {"convolution": 6, "hidden": 10}, (1, 6, 10)
    ),
    "squeeze and excite": Case(
        on_body(made.SqueezeExcite, 6),
        {"body.stem.0": 8, "body.reduce": 4, "body.last.0": 6},
    ),
    "one dimension": Case(made.one_dimensional, {"body.0": 6, "body.3": 8, "body.6": 5}, (2, 20)),
    "linear layers on a sequence": Case(
        lambda: made.Tokens(has_norm=False), {"first": 12, "second": 6}, (5, 8)
    ),
    "a module used twice": Case(on_body(made.UsedTwice, 6), {"body.stem.0": 8, "body.last.0": 6}),
    "PReLU": Case(made.rectified_by_parameters, {"body.0": 8, "body.2.0": 6}),
    "a learned scale": Case(on_body(made.ScaledBranch, 6), {"body.stem.0": 8, "body.last.0": 6}),
    "a branch that only the images choose": Case(
        on_body(made.DataDependent, 6), {"body.stem.0": 8, "body.other.0": 8, "body.last.0": 6}
    ),
}

# What they have in their middle cannot be cut; the layers around it can.
OBSTRUCTED = {
    "transposed convolution": Case(
        lambda: made.between(nn.ConvTranspose2d(8, 8, 2, 2)), {"body.0.0": 5, "body.3.0": 6}
    ),
    "layers called by name": Case(on_body(made.CalledByName, 6), {"body.stem": 5, "body.last": 6}),
    "group norm": Case(lambda: made.between(nn.GroupNorm(2, 8)), {"body.0.0": 5, "body.3.0": 6}),
    "layer norm": Case(
        lambda: made.between(nn.LayerNorm([8, 8, 8])), {"body.0.0": 5, "body.3.0": 6}
    ),
    "instance norm": Case(
        lambda: made.between(nn.InstanceNorm2d(8, affine=True)), {"body.0.0": 5, "body.3.0": 6}
    ),
    "a view that names a channel count": Case(
        on_body(made.HardCodedView, 6), {"body.stem.0": 8, "body.next.0": 7, "body.last.0": 6}
    ),
    "padding in the forward pass": Case(
        on_body(made.ForwardPadding, 6), {"body.first.0": 10, "body.last.0": 6}
    ),
    "channel shuffle": Case(
        on_body(made.Shuffle, 6), {"body.stem.0": 4, "body.second.0": 4, "body.last.0": 6}
    ),
    "a gate of one channel": Case(on_body(made.SpatialGate, 6), {"body.last.0": 6}),
    **{
        f"{how}, {'multiplied' if is_gated else 'apart'}": Case(
            on_body(lambda how=how, is_gated=is_gated: made.Halves(how, is_gated), 6),
            {"body.stem.0": 8, "body.first.0": 5, "body.last.0": 6},
        )
        for how in ("chunk", "split", "slice")
        for is_gated in (True, False)
    },
}
EVERY = CUTTABLE | OBSTRUCTED


def fresh(name: str) -> Network:
    case = EVERY[name]
    torch.manual_seed(0)
    return trace(settled(case.build(), case.input_shape), case.input_shape)


traced = cache(fresh)  # for tests that leave the module as it is


def obstacle_of(graph: LayerGraph, layer: str) -> tuple[str, str]:
    """The operator and the reason that keep this layer whole."""
    [obstacle] = [each for each in graph.obstacles if layer in each.layers]
    return obstacle.operator, obstacle.reason


@pytest.mark.parametrize("name", EVERY)
def test_groups_are_found_in_the_order_of_the_forward_pass(name: str) -> None:
    graph = traced(name).graph

    expected = EVERY[name].groups
    assert [(group.name, group.channels) for group in graph.groups] == list(expected.items())


@pytest.mark.parametrize("name", EVERY)
def test_cut_network_computes_what_the_masked_one_does(name: str, rng: np.random.Generator) -> None:
    network, input_shape = traced(name), EVERY[name].input_shape
    images = torch.randn(4, *input_shape)

    for _ in range(CUTS):
        kept = random_kept(network.plan, rng)
        with torch.no_grad():
            cut = cut_module(network.module, network.plan, kept)(images)
            masked = masked_module(network.module, network.plan, kept)(images)

        assert relative_difference(cut, masked) < 1e-5


@pytest.mark.parametrize("name", EVERY)
def test_analytic_costs_are_what_the_cut_network_counts(
    name: str, rng: np.random.Generator
) -> None:
    network, input_shape = traced(name), EVERY[name].input_shape
    costs = AnalyticCosts(network.graph)

    for _ in range(CUTS):
        kept = random_kept(network.plan, rng)
        cut = cut_module(network.module, network.plan, kept)

        counted = counted_cost(cut, input_shape)
        assert without_score(costs.cost([len(each) for each in kept])) == counted


@pytest.mark.parametrize("name", EVERY)
def test_cut_network_can_be_traced_again(name: str) -> None:
    network = traced(name)
    kept = [torch.arange(channels // 3, channels) for channels in network.plan.channels]

    again = trace(cut_module(network.module, network.plan, kept), EVERY[name].input_shape)

    widths = [len(each) for each in kept]
    assert list(again.graph.full_widths) == widths
    assert AnalyticCosts(again.graph).cost(widths) == AnalyticCosts(network.graph).cost(widths)


def test_groups_do_not_depend_on_what_the_network_has_learned() -> None:
    # With dead activations or a last bias that drowns the rest, a wrong cut changes nothing.
    case = OBSTRUCTED["channel shuffle"]
    module = fresh("channel shuffle").module
    with torch.no_grad():
        module.get_parameter("body.second.1.bias").fill_(-100.0)
        module.get_parameter("linear.bias").fill_(100.0)

    graph = trace(module, case.input_shape).graph

    assert [group.name for group in graph.groups] == list(case.groups)


@pytest.mark.parametrize("name", CUTTABLE)
def test_only_the_output_is_an_obstacle(name: str) -> None:
    graph = traced(name).graph

    layers = {layer for obstacle in graph.obstacles for layer in obstacle.layers}

    # Every output of a depthwise convolution with a multiplier needs all inputs to stay.
    is_tied = name == "depthwise with a multiplier"
    assert layers == ({"linear", "body.0.0"} if is_tied else {"linear"})


@pytest.mark.parametrize(
    ("name", "layer", "operator"),
    [
        ("transposed convolution", "body.1", "ConvTranspose2d body.2"),
        ("group norm", "body.1", "GroupNorm body.2"),
        ("layer norm", "body.1", "LayerNorm body.2"),
        ("instance norm", "body.1", "InstanceNorm2d body.2"),
        ("padding in the forward pass", "body.second.0", "ConstantPadNd, Slice"),
        ("channel shuffle", "body.first.0", "Reshape, Transpose"),
        ("a gate of one channel", "body.stem.0", "single channel"),
        ("chunk, multiplied", "body.wide", "slice"),
        ("split, apart", "body.wide", "slice"),
    ],
)
def test_obstacle_names_layer_and_operator(name: str, layer: str, operator: str) -> None:
    graph = traced(name).graph

    assert obstacle_of(graph, layer)[0] == operator


def test_obstacle_names_the_line_that_fixes_a_channel_count() -> None:
    graph = traced("a view that names a channel count").graph

    operator, reason = obstacle_of(graph, "body.viewed.0")

    assert "x.view(x.shape[0], 6, -1)" in operator
    assert "topologies.py, line " in operator
    assert "fixes a channel count" in reason


def test_groups_name_producers_and_consumers() -> None:
    graph = traced("projection shortcut").graph

    stem, inner, sum_ = graph.groups
    assert (stem.producers, stem.consumers) == (
        ("body.stem.0",),
        ("body.first.0", "body.shortcut"),
    )
    assert (inner.producers, inner.consumers) == (("body.first.0",), ("body.second.0",))
    assert (sum_.producers, sum_.consumers) == (("body.second.0", "body.shortcut"), ("linear",))


def test_layers_of_a_module_used_twice_count_both_uses() -> None:
    graph = traced("a module used twice").graph

    assert graph.layer("body.shared").calls == 2
    [weight] = [each for each in graph.tensors if each.name == "body.shared.weight"]
    assert weight.positions == 2 * 8 * 8


def test_norm_over_the_places_of_a_sequence_is_not_one_over_channels() -> None:
    # Six places and six outputs: only their order tells them apart.
    network = trace(made.Tokens(has_norm=True), (6, 8))

    assert [group.name for group in network.graph.groups] == ["first"]
    assert network.plan.norm_after == {}


def test_network_with_two_outputs_is_refused_until_one_is_selected() -> None:
    says = r"returns a tuple; its outputs are: 0 \(B, 4\), 1 \(B, 4\): say with select_output"

    with pytest.raises(ModelInvalid, match=says):
        trace(made.TwoHeads(), IMAGE)
    assert trace(select_output(made.TwoHeads(), IMAGE, 1), IMAGE).graph.groups


def test_network_without_weights_is_refused() -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    with pytest.raises(ModelInvalid, match="no layer with weights"):
        trace(module, IMAGE)


def test_network_that_does_not_take_the_shape_is_refused() -> None:
    with pytest.raises(ModelInvalid, match=r"does not take inputs of shape \(3, 9, 9\)"):
        trace(made.Flattened(8, 8), (3, 9, 9))


def test_weights_that_are_not_finite_are_refused() -> None:
    module = made.grouped(2)
    with torch.no_grad():
        module.get_parameter("body.1.0.weight")[0, 0, 0, 0] = torch.nan

    with pytest.raises(WeightsMismatch, match=r"body\.1\.0\.weight holds NaN"):
        trace(module, IMAGE)


def test_computed_weights_are_refused() -> None:
    module = made.grouped(1)
    nn.utils.parametrizations.weight_norm(module.get_submodule("body.1.0"))

    with pytest.raises(ModelInvalid, match=r"body\.1\.0 is computed from other tensors"):
        trace(module, IMAGE)


def test_network_with_nothing_to_cut_has_no_groups() -> None:
    network = trace(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), IMAGE)

    assert network.graph.groups == ()
    counted = counted_cost(network.module, IMAGE)
    assert without_score(AnalyticCosts(network.graph).cost(())) == counted
    assert cut_module(network.module, network.plan, [])(torch.randn(2, *IMAGE)).shape == (2, 4)


def test_second_argument_with_a_default_is_not_filled_by_the_tracer() -> None:
    # The tracer's library would first call it as module(first image, second image).
    class WithOption(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = made.convolution(3, 8)
            self.linear = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor, options: object = None) -> torch.Tensor:
            assert options is None
            return self.linear(self.convolution(x).mean((-2, -1)))

    network = trace(WithOption(), IMAGE)

    assert [group.name for group in network.graph.groups] == ["convolution"]


def test_tracing_leaves_the_weights_and_what_is_frozen_alone() -> None:
    module = settled(made.grouped(2), IMAGE).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    network = trace(module, IMAGE)

    assert len(network.graph.groups) == 3
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(before[name], found) for name, found in module.state_dict().items())


def test_tracing_twice_gives_the_same_graph() -> None:
    assert fresh("concatenations").graph == fresh("concatenations").graph


def test_shared_weights_are_cut_once_or_not_at_all() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = made.normalised(3, 8)
            self.first, self.second = made.convolution(8, 8), made.convolution(8, 8)
            self.second.weight = self.first.weight
            self.linear = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(self.stem(x)))
            return self.linear(torch.relu(self.second(x)).mean((2, 3)))

    network = trace(settled(Tied(), IMAGE), IMAGE)
    kept = [torch.arange(channels // 2) for channels in network.plan.channels]
    cut = cut_module(network.module, network.plan, kept)

    told = AnalyticCosts(network.graph).cost([len(each) for each in kept])
    assert without_score(told) == counted_cost(cut, IMAGE)
