"""Candidates whose weights a PruningNet generates, scored under the evaluator's contract."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.pruning_net import PruningNet
from automl_compress.core import (
    Budget,
    Evaluator,
    LayerGraph,
    Policy,
    PruningNetConfig,
    Recipe,
)
from automl_compress.core.errors import InvalidInput
from automl_compress.data.loading import load_data
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import Network, trace
from automl_compress.train.config import TrainingConfig
from automl_compress.train.demo import DEMO_ARCHITECTURE, DEMO_CONFIG, DEMO_WEIGHTS
from benchmarks.pruning_net import measure_agreement
from tests.automl_compress.evaluate.splits import split
from tests.automl_compress.networks import topologies
from tests.automl_compress.networks.counting import settled
from tests.contracts.evaluator import EvaluatorContract, deterministic

IMAGE = (3, 8, 8)
SEARCH = split("search", 50, seed=1)
TRAIN = split("train", 40, seed=2)
RECIPE = Recipe(
    repair="recalibration",
    signal="cross_entropy",
    batch_size=20,
    weights="pruning_net",
    pruning_net=PruningNetConfig(rank=3),
)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    module = topologies.Classifier(topologies.Residual("option A"), 12)
    return trace(settled(module, IMAGE), IMAGE)


@pytest.fixture(scope="module")
def net(network: Network) -> PruningNet:
    """With weights of its own, as training leaves them."""
    torch.manual_seed(1)
    made = PruningNet(network, 3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def half_of(network: Network) -> Policy:
    widths = [channels // 2 for channels in network.graph.full_widths]
    return Policy.from_widths(network.graph, widths)


class TestGeneratedWeights(EvaluatorContract):
    @pytest.fixture
    def graph(self, network: Network) -> LayerGraph:
        return network.graph

    @pytest.fixture(params=["recalibration", "none"])
    def evaluator(
        self, request: pytest.FixtureRequest, network: Network, net: PruningNet
    ) -> Evaluator:
        return PolicyEvaluator(network, SEARCH, TRAIN, replace(RECIPE, repair=request.param), net)


def test_scores_are_those_of_the_generated_network(network: Network, net: PruningNet) -> None:
    evaluator = PolicyEvaluator(network, SEARCH, TRAIN, RECIPE, net)
    policy = half_of(network)

    measured = evaluator.evaluate(policy)

    module = evaluator.repaired_network(policy)
    with torch.no_grad():
        logits = module(SEARCH.normalised())
    entropy = float(torch.nn.functional.cross_entropy(logits, SEARCH.labels))
    assert measured.cross_entropy == pytest.approx(entropy, rel=1e-4)
    assert measured.evaluations == 1 + 40 / 50


def test_the_network_to_confirm_holds_generated_weights_with_statistics_of_its_own(
    network: Network, net: PruningNet
) -> None:
    evaluator = PolicyEvaluator(network, SEARCH, TRAIN, RECIPE, net)
    kept = [torch.tensor(choice.kept) for choice in evaluator.explicit(half_of(network)).choices]

    found = evaluator.repaired_network(half_of(network)).state_dict()

    generated, inherited = net.network(kept).state_dict(), cut_network(network, kept).state_dict()
    for name, tensor in found.items():
        if "running" in name:
            assert not torch.equal(tensor, generated[name])
        elif "num_batches" not in name and tensor.is_floating_point():
            assert torch.equal(tensor, generated[name])
            assert not torch.equal(tensor, inherited[name])


def test_the_uncut_network_is_still_the_given_one(network: Network, net: PruningNet) -> None:
    plain = PolicyEvaluator(network, SEARCH, TRAIN, Recipe(repair="none"))

    evaluator = PolicyEvaluator(network, SEARCH, TRAIN, RECIPE, net)

    assert evaluator.score_uncut() == plain.score_uncut()


def test_a_record_carries_the_pruning_net(network: Network, net: PruningNet) -> None:
    record = EvaluatorRecord.of(network, SEARCH, TRAIN, RECIPE, net)

    copied: EvaluatorRecord = pickle.loads(pickle.dumps(record))  # noqa: S301 - ours
    measured = copied.build().evaluate(half_of(network))

    expected = PolicyEvaluator(network, SEARCH, TRAIN, RECIPE, net).evaluate(half_of(network))
    assert deterministic(measured) == deterministic(expected)


def test_a_recipe_that_wants_one_is_refused_without_it(network: Network) -> None:
    for build in (PolicyEvaluator, EvaluatorRecord.of):
        with pytest.raises(InvalidInput, match="none is given"):
            build(network, SEARCH, TRAIN, RECIPE)


def test_an_inherited_recipe_leaves_a_pruning_net_alone(network: Network, net: PruningNet) -> None:
    recipe = Recipe(repair="none")

    found = PolicyEvaluator(network, SEARCH, TRAIN, recipe, net).evaluate(half_of(network))

    expected = PolicyEvaluator(network, SEARCH, TRAIN, recipe).evaluate(half_of(network))
    assert deterministic(found) == deterministic(expected)


@pytest.mark.slow
def test_generated_weights_rank_structures_as_fine_tuning_does() -> None:
    """Random structures of one cost, on the digits (methods.md 1.4, test d: above 0.5)."""
    module = build_network(DEMO_ARCHITECTURE, DEMO_CONFIG)
    load_weights(module, DEMO_WEIGHTS)
    config = PruningNetConfig(epochs=5)
    recipe = replace(RECIPE, calibration_images=256, batch_size=32, pruning_net=config)
    tuning = TrainingConfig(epochs=2, learning_rate=0.02)
    network, budget = trace(module, (1, 8, 8)), Budget("macs", 0.2)

    found = measure_agreement(network, load_data("digits"), recipe, tuning, budget, 12)

    assert found.spearman(found.generated) > 0.5
    assert np.mean(found.generated) > np.mean(found.inherited)
