"""The analytic model under its contract, and by hand; cut networks are counted in networks."""

import pytest

from automl_compress.core import Cost, CostModel, LayerGraph
from automl_compress.costs import AnalyticCosts
from tests.automl_compress.networks import zoo
from tests.contracts.cost_model import CostModelContract
from tests.fakes import plain_graph, residual_graph


class TestAnalyticCosts(CostModelContract):
    @pytest.fixture(params=["made up", "lenet-5", "resnet-20", "mobilenet-v2", "squeezenet"])
    def graph(self, request: pytest.FixtureRequest) -> LayerGraph:
        return residual_graph() if request.param == "made up" else zoo.traced(request.param).graph

    @pytest.fixture
    def costs(self, graph: LayerGraph) -> CostModel:
        return AnalyticCosts(graph)


def test_plain_network_by_hand() -> None:
    # A 3x3 convolution from 3 to 8 channels on 8x8 pixels with bias, a linear layer to 10.
    costs = AnalyticCosts(plain_graph([8]))

    # 8*27 weights at 64 positions + 80; 216 + 8 biases + 80 weights, four bytes each. Additions of
    # products are one less for each output, biases one for each. MicroNet's baseline has 36.5
    # million parameters and 10.49 billion operations.
    operations = 216 * 64 + (216 - 8) * 64 + 8 * 64 + 80 + 70
    assert costs.cost([8]) == Cost(
        216 * 64 + 80,
        216 + 8 + 80,
        4 * (216 + 8 + 80),
        1024 * (216 * 64 + 80),
        round((216 + 8 + 80) / 0.0365 + operations / 10.49),
    )
    operations = 81 * 64 + (81 - 3) * 64 + 3 * 64 + 30 + 20
    assert costs.cost([3]) == Cost(
        81 * 64 + 30,
        81 + 3 + 30,
        4 * (81 + 3 + 30),
        1024 * (81 * 64 + 30),
        round((81 + 3 + 30) / 0.0365 + operations / 10.49),
    )


def test_large_networks_do_not_overflow() -> None:
    # 100,000 channels on both sides: 9e10 weights, each at 64 positions.
    costs = AnalyticCosts(plain_graph([100_000, 100_000]))

    assert costs.cost([100_000, 100_000]).macs == (27 + 900_000) * 100_000 * 64 + 1_000_000
