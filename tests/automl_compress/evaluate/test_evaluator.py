"""The evaluator under its contract, and against a plain evaluation of the cut module."""

import copy
import pickle
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.layer_weights import compressed_weights
from automl_compress.compress.quantised_network import quantise_network
from automl_compress.compress.recalibration import recalibrate
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Evaluator, LayerChoice, LayerGraph, Policy, Recipe
from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.export.engines import is_installed
from automl_compress.export.sessions import OPENVINO
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.evaluate.splits import split
from tests.automl_compress.networks import topologies
from tests.automl_compress.networks.counting import settled
from tests.contracts.evaluator import EvaluatorContract, deterministic

IMAGE = (3, 8, 8)
SEARCH = split("search", 50, seed=1)
TRAIN = split("train", 40, seed=2)
RECIPES = {
    "plain": Recipe(repair="none", signal="accuracy", images=40),
    "reconstruction": Recipe(repair="reconstruction", signal="kl", batch_size=16),
    "recalibration": Recipe(repair="recalibration", signal="cross_entropy", batch_size=20),
    "distillation": Recipe(repair="distillation", signal="kl", batch_size=4),
    "taylor": Recipe(repair="none", calibration_images=8),
    "openvino": Recipe(repair="reconstruction", signal="kl", batch_size=16, backend="openvino"),
}


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    module = topologies.Classifier(topologies.Residual("option A"), 12)
    return trace(settled(module, IMAGE), IMAGE)


def evaluator_of(network: Network, recipe: Recipe) -> PolicyEvaluator:
    return PolicyEvaluator(network, SEARCH, TRAIN, recipe)


def half_of(network: Network, criterion: str = "l1") -> Policy:
    widths = [channels // 2 for channels in network.graph.full_widths]
    return Policy.from_widths(network.graph, widths, criterion)


def uncut(network: Network) -> Policy:
    return Policy.from_widths(network.graph, network.graph.full_widths)


@pytest.fixture(scope="module", params=RECIPES)
def every_evaluator(request: pytest.FixtureRequest, network: Network) -> PolicyEvaluator:
    if request.param == OPENVINO and not is_installed(OPENVINO):
        pytest.skip("OpenVINO is not installed (pip install automl-compress[engines])")
    return evaluator_of(network, RECIPES[request.param])


class TestPolicyEvaluator(EvaluatorContract):
    @pytest.fixture
    def graph(self, network: Network) -> LayerGraph:
        return network.graph

    @pytest.fixture
    def evaluator(self, every_evaluator: PolicyEvaluator) -> Evaluator:
        return every_evaluator


def plain_logits(module: nn.Module, images: int) -> torch.Tensor:
    with torch.no_grad():
        return module(SEARCH.normalised()[:images])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_scores_are_those_of_the_repaired_network(network: Network, recipe: Recipe) -> None:
    evaluator = evaluator_of(network, recipe)
    policy = half_of(network, "taylor" if recipe.calibration_images == 8 else "l1")

    measured = evaluator.evaluate(policy)

    images = recipe.images or len(SEARCH)
    labels = SEARCH.labels[:images]
    logits = plain_logits(evaluator.repaired_network(policy), images)
    expected = plain_logits(network.module, images).log_softmax(1)
    assert measured.total == images
    assert measured.correct == int((logits.argmax(1) == labels).sum())
    assert measured.cross_entropy == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-4)
    divergence = (expected.exp() * (expected - logits.log_softmax(1))).sum(1).mean()
    assert measured.kl == pytest.approx(float(divergence), rel=1e-3, abs=1e-6)


def test_without_repair_the_cut_network_keeps_its_weights(network: Network) -> None:
    evaluator = evaluator_of(network, RECIPES["plain"])
    policy = half_of(network)

    found = evaluator.repaired_network(policy).state_dict()

    expected = cut_network(network, ChannelSelector(network).kept(policy)).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("repair", ["none", "reconstruction"])
def test_uncut_network_diverges_from_itself_by_nothing(network: Network, repair: str) -> None:
    evaluator = evaluator_of(network, Recipe(repair=repair, signal="kl"))  # type: ignore[arg-type]

    measured = evaluator.evaluate(uncut(network))

    assert measured.kl == measured.score == 0.0
    assert measured.correct == evaluator.score_uncut().correct
    assert evaluator.score_uncut().kl == 0.0


def test_the_signal_is_higher_for_better_networks(network: Network) -> None:
    policy = half_of(network)
    accuracy, entropy, divergence = (
        evaluator_of(network, Recipe(repair="none", signal=signal)).evaluate(policy)
        for signal in ("accuracy", "cross_entropy", "kl")
    )

    assert accuracy.score == accuracy.accuracy
    assert entropy.score == -entropy.cross_entropy
    assert divergence.kl is not None
    assert divergence.score == -divergence.kl < 0


def test_more_images_than_the_split_has_are_refused(network: Network) -> None:
    with pytest.raises(InvalidInput, match="takes 51 images of the search split, which has 50"):
        evaluator_of(network, Recipe(images=51))


def test_calibration_takes_what_the_train_split_has(network: Network) -> None:
    recipe = Recipe(repair="recalibration", calibration_images=1000)

    measured = evaluator_of(network, recipe).evaluate(half_of(network))

    assert measured.evaluations == 1 + 40 / 50


def compressed(policy: Policy, graph: LayerGraph, weight_bits: int) -> Policy:
    """Make every convolution and linear layer sparse, and its weights quantised."""
    names = [layer.name for layer in graph.layers if layer.kind != "other"]
    return replace(
        policy, layers=tuple(LayerChoice(name, 0.6, weight_bits=weight_bits) for name in names)
    )


@pytest.mark.parametrize("weight_bits", [32, 3])
def test_recalibration_measures_the_weights_that_layers_get(
    network: Network, weight_bits: int
) -> None:
    evaluator = evaluator_of(network, RECIPES["recalibration"])
    policy = compressed(half_of(network), network.graph, weight_bits)
    choices, norms = policy.layer_choices(network.graph), network.plan.norm_after

    module = evaluator.repaired_network(policy)

    floats = evaluator_of(network, RECIPES["plain"]).repaired_network(half_of(network))
    dense = dict(floats.named_parameters())
    twin = copy.deepcopy(module)
    for name, choice in choices.items():
        weight = module.get_submodule(name).get_parameter("weight").detach()
        kept = weight != 0
        assert torch.equal(weight[kept], dense[f"{name}.weight"][kept])
        assert int(kept.sum()) == weight.numel() - round(0.6 * weight.numel())
        values = compressed_weights(weight, replace(choice, sparsity=0.0)).values
        twin.get_submodule(name).get_parameter("weight").data.copy_(values)
    recalibrate(twin, evaluator.calibration)
    torch.testing.assert_close(dict(module.named_buffers()), dict(twin.named_buffers()))
    logits = plain_logits(quantise_network(module, choices, norms, {}).module, len(SEARCH))
    measured = evaluator.evaluate(policy)
    expected_loss = float(F.cross_entropy(logits, SEARCH.labels))
    assert measured.cross_entropy == pytest.approx(expected_loss, rel=1e-4)


@pytest.mark.parametrize("activation_bits", [32, 4])
def test_distillation_trains_what_layers_become(network: Network, activation_bits: int) -> None:
    before = copy.deepcopy(network.module.state_dict())
    evaluator = evaluator_of(network, RECIPES["distillation"])
    policy = compressed(half_of(network), network.graph, 3)
    rounded = [replace(each, activation_bits=activation_bits) for each in policy.layers]
    policy = replace(policy, layers=tuple(rounded))

    module = evaluator.repaired_network(policy)

    recalibrated = replace(RECIPES["recalibration"], signal="kl")
    untrained = evaluator_of(network, recalibrated).repaired_network(policy)
    for name in policy.layer_choices(network.graph):
        weight, old = (
            each.get_submodule(name).get_parameter("weight") for each in (module, untrained)
        )
        assert torch.equal(weight == 0, old == 0)
        assert not torch.equal(weight, old)
    on_train = [
        PolicyEvaluator(network, TRAIN, TRAIN, replace(recipe, calibration_images=40))
        .evaluate(policy)
        .kl
        for recipe in (RECIPES["distillation"], recalibrated)
    ]
    assert on_train[0] is not None
    assert on_train[1] is not None
    assert on_train[0] < on_train[1]
    assert all(
        torch.equal(before[name], value) for name, value in network.module.state_dict().items()
    )


def test_forwarded_calibration_images_are_effort(network: Network) -> None:
    recalibrated = Recipe(repair="recalibration", calibration_images=30, images=20)
    reconstructed = replace(recalibrated, repair="reconstruction")
    distilled = replace(recalibrated, repair="distillation")
    policy = half_of(network)

    assert evaluator_of(network, recalibrated).evaluate(policy).evaluations == 1 + 30 / 20
    assert evaluator_of(network, distilled).evaluate(policy).evaluations == 1 + 5 * 30 / 20
    # Its matrices were gathered once, not for this candidate.
    assert evaluator_of(network, reconstructed).evaluate(policy).evaluations == 1


def test_measurement_names_its_images(network: Network) -> None:
    measured = evaluator_of(network, Recipe(repair="none", images=10)).evaluate(half_of(network))

    assert measured.split == "search: made up, rows 0-49, of these 0-9"


def test_the_order_of_policies_does_not_matter(network: Network) -> None:
    # Every candidate sees the same images, and leaves nothing behind.
    recipe = RECIPES["recalibration"]
    first, second = evaluator_of(network, recipe), evaluator_of(network, recipe)
    policies = [uncut(network), half_of(network), half_of(network, "fpgm")]

    forwards = [deterministic(first.evaluate(policy)) for policy in policies]
    backwards = [deterministic(second.evaluate(policy)) for policy in reversed(policies)]

    assert forwards == backwards[::-1]


def test_a_record_builds_the_same_evaluator(network: Network) -> None:
    recipe = Recipe(images=30, calibration_images=20)
    record = EvaluatorRecord.of(network, SEARCH, TRAIN, recipe)

    measured = record.build().evaluate(half_of(network))

    assert len(record.search) == 30
    assert len(record.train) == 20
    expected = evaluator_of(network, recipe).evaluate(half_of(network))
    assert deterministic(measured) == deterministic(expected)


def test_a_record_with_a_program_compiles_none(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES["reconstruction"]
    evaluator = evaluator_of(network, recipe)
    record = EvaluatorRecord.of(network, SEARCH, TRAIN, recipe, program=evaluator.program)
    monkeypatch.setattr("automl_compress.evaluate.candidates.compile_program", None)

    sent: EvaluatorRecord = pickle.loads(pickle.dumps(record))  # noqa: S301 - ours
    found = sent.build()

    assert evaluator.program is not None
    assert found.program is not None
    for policy in (half_of(network), uncut(network)):
        expected = deterministic(evaluator.evaluate(policy))
        assert deterministic(found.evaluate(policy)) == expected


def test_a_network_without_groups_can_still_be_scored() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    evaluator = evaluator_of(trace(module, IMAGE), Recipe())

    assert evaluator.evaluate(Policy(())).correct == evaluator.score_uncut().correct


class Slow(nn.Module):
    """Takes its time over each batch; what depends on the images cannot be exported."""

    SECONDS = 0.02

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.SECONDS if float(x.detach().mean()) < 1e9 else 0.0)
        return self.linear(x.flatten(1))


def test_the_uncut_network_is_timed_while_it_runs() -> None:
    batches = 3
    evaluator = evaluator_of(trace(Slow(), IMAGE), Recipe(images=48, batch_size=16))

    # By this a trial's limit is chosen, which would otherwise kill those of a slow network.
    assert evaluator.uncut_seconds >= batches * Slow.SECONDS


def test_outputs_that_are_not_finite_fail_the_trial() -> None:
    # Without the two huge channels that cancel each other the sum overflows.
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.Linear(3, 4))
    with torch.no_grad():
        hidden, last = module[1], module[2]
        hidden.weight.zero_()
        hidden.bias.copy_(torch.tensor([3e38, 2e38, -3e38]))
        last.weight.copy_(torch.tensor([1.0, 0.1, 1.0]).expand(4, 3) * torch.ones(4, 1))
    network = trace(module, IMAGE)
    policy = Policy.from_widths(network.graph, [2]).with_kept([[0, 1]])
    with torch.no_grad():
        last.weight.mul_(5.0)

    with pytest.raises(ModelInvalid, match="NaN or infinity"):
        evaluator_of(network, Recipe(repair="none")).evaluate(policy)


@pytest.mark.parametrize("recipe", ["plain", "reconstruction", "recalibration"])
def test_channels_that_a_policy_names_are_kept_whatever_a_criterion_says(
    network: Network, recipe: str
) -> None:
    evaluator, ranked = evaluator_of(network, RECIPES[recipe]), half_of(network)
    generator = torch.Generator().manual_seed(5)
    drawn = [
        torch.randperm(channels, generator=generator)[: channels // 2].sort().values.tolist()
        for channels in network.graph.full_widths
    ]

    for policy in (ranked.with_kept(drawn), ranked, ranked.with_kept(drawn)):
        measured = evaluator.evaluate(policy)
        logits = plain_logits(evaluator.repaired_network(policy), measured.total)
        expected = float(F.cross_entropy(logits, SEARCH.labels[: measured.total]))
        assert measured.cross_entropy == pytest.approx(expected, rel=1e-4)

    kept = ChannelSelector(network).kept(ranked.with_kept(drawn))
    assert [each.tolist() for each in kept] == drawn
