"""Every criterion under the contract, and its formula by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.compress.criteria import channel_scores, criterion_names
from automl_compress.core.errors import InvalidInput, UnknownName
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks import topologies
from tests.automl_compress.networks.counting import settled
from tests.contracts.criterion import CriterionContract

IMAGE = (3, 8, 8)


class TestEveryCriterion(CriterionContract):
    @pytest.fixture(params=criterion_names())
    def criterion(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture(params=["residual", "grouped", "concatenation", "without norms", "frozen"])
    def network(self, request: pytest.FixtureRequest) -> Network:
        torch.manual_seed(0)
        module = {
            "residual": lambda: topologies.Classifier(topologies.Residual("option A"), 12),
            "grouped": lambda: topologies.grouped(2),
            "concatenation": lambda: topologies.Classifier(topologies.Concatenation(), 8),
            "without norms": lambda: topologies.Flattened(8, 8),
            "frozen": lambda: topologies.grouped(1).requires_grad_(False),
        }[request.param]()
        return trace(settled(module, IMAGE), IMAGE)


def one_layer(filters: list[list[float]], bias: bool = False) -> Network:
    """A linear layer of two inputs with these filters, and a linear layer to two classes."""
    hidden = nn.Linear(2, len(filters), bias=bias)
    module = nn.Sequential(hidden, nn.Linear(len(filters), 2))
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor(filters))
        module[1].weight.copy_(torch.arange(1.0, 1.0 + 2 * len(filters)).view(2, -1) / 10)
        module[1].bias.zero_()
    return trace(module, (2,))


def relative(values: list[float]) -> Tensor:
    """Scores are in units of the layer's mean."""
    return torch.tensor(values) / (sum(values) / len(values))


FILTERS = [[3.0, -4.0], [0.0, 1.0], [-6.0, 0.0]]


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("l1", [7.0, 1.0, 6.0]),
        ("l2", [5.0, 1.0, 6.0]),
        # Distances: 0-1 sqrt(9+25), 0-2 sqrt(81+16), 1-2 sqrt(36+1).
        (
            "fpgm",
            [
                math.sqrt(34) + math.sqrt(97),
                math.sqrt(34) + math.sqrt(37),
                math.sqrt(97) + math.sqrt(37),
            ],
        ),
        ("bn_scale", [7.0, 1.0, 6.0]),  # no norm: the filters' L1
    ],
)
def test_scores_of_one_layer_by_hand(criterion: str, expected: list[float]) -> None:
    [scores] = channel_scores(one_layer(FILTERS), criterion)

    torch.testing.assert_close(scores, relative(expected))


def test_norm_scale_is_what_its_name_says() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([0.5, -2.0, 1.0]))

    [scores] = channel_scores(trace(module, (2,)), "bn_scale")

    torch.testing.assert_close(scores, relative([0.5, 2.0, 1.0]))


def test_coupled_layers_add_up_in_units_of_their_means() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.last = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x) + self.second(x))

    module = Sum()
    with torch.no_grad():
        module.first.weight.copy_(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        module.second.weight.copy_(torch.tensor([[0.0, 30.0], [0.0, 10.0]]))

    [scores] = channel_scores(trace(module, (2,)), "l1")

    # 1/2 + 30/20 and 3/2 + 10/20: the larger layer does not outvote the smaller.
    torch.testing.assert_close(scores, torch.tensor([2.0, 2.0]))


def test_tied_channels_of_a_grouped_convolution_add_up() -> None:
    module = topologies.grouped(4)
    network = trace(module, IMAGE)

    scores = channel_scores(network, "l1")[network.graph.group_index["body.1.0"]]

    filters = module.get_parameter("body.1.0.weight").detach().abs().sum((1, 2, 3))
    torch.testing.assert_close(scores, (filters / filters.mean()).view(4, 4).sum(0))


def test_taylor_by_hand() -> None:
    network = one_layer(FILTERS)
    images, labels = torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([0, 1])
    weight = network.module.get_parameter("0.weight")
    loss = F.cross_entropy(network.module(images), labels)
    [gradient] = torch.autograd.grad(loss, [weight])

    [scores] = channel_scores(network, "taylor", [(images, labels)])

    expected = (gradient * weight).sum(1).square().detach()
    torch.testing.assert_close(scores, expected / expected.mean())


def test_taylor_of_a_norm_is_squared_after_scale_and_shift_are_added() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    network = trace(settled(module, (2,)), (2,))
    images, labels = torch.randn(8, 2), torch.arange(8) % 2
    norm = [module.get_parameter("1.weight"), module.get_parameter("1.bias")]
    loss = F.cross_entropy(module(images), labels)
    scale, shift = torch.autograd.grad(loss, norm)

    [scores] = channel_scores(network, "taylor", [(images, labels)])

    expected = (scale * norm[0] + shift * norm[1]).square().detach()
    torch.testing.assert_close(scores, expected / expected.mean())


@pytest.mark.parametrize(
    ("batches", "message"),
    [(None, "needs calibration images"), ([], "got no calibration images")],
)
def test_taylor_without_images_is_refused(batches: list | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        channel_scores(one_layer(FILTERS), "taylor", batches)


def test_taylor_leaves_frozen_parameters_frozen() -> None:
    network = one_layer(FILTERS)
    network.module.requires_grad_(False)

    channel_scores(network, "taylor", [(torch.randn(4, 2), torch.arange(4) % 2)])

    assert not any(parameter.requires_grad for parameter in network.module.parameters())


def test_random_scores_follow_the_seed() -> None:
    network = one_layer(FILTERS)

    [first], [second] = (channel_scores(network, "random", seed=seed) for seed in (0, 1))

    assert not torch.equal(first, second)


def test_unknown_criterion_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="bn_scale, fpgm, l1, l2, random, taylor"):
        channel_scores(one_layer(FILTERS), "magnitude")
