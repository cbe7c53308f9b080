"""What runs candidates: asked for, measured, or the one that is there."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from automl_compress.core import Policy, Recipe
from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.evaluate import backends
from automl_compress.evaluate.backends import backend_candidates
from automl_compress.evaluate.candidates import Candidates, candidates_of
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.evaluate.openvino_candidates import OpenVinoCandidates
from automl_compress.export.engines import is_installed
from automl_compress.export.sessions import OPENVINO
from automl_compress.networks.trace import Network
from tests.automl_compress.evaluate.splits import split, traced
from tests.automl_compress.networks import topologies

IMAGE = (3, 8, 8)
SEARCH, TRAIN = split("search", 50, seed=1), split("train", 40, seed=2)
NEEDS_OPENVINO = pytest.mark.skipif(
    not is_installed(OPENVINO), reason="not installed: openvino (automl-compress[engines])"
)


@pytest.fixture(scope="module")
def network() -> Network:
    return traced(topologies.Classifier(topologies.Residual("option A"), 12))


@pytest.fixture(scope="module")
def in_torch(network: Network) -> Candidates:
    return candidates_of(network)


@pytest.fixture
def batches() -> list[Tensor]:
    return [torch.randn(8, *IMAGE), torch.randn(3, *IMAGE)]


@pytest.fixture
def always_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LEAST_SECONDS", 0.0)


def seconds(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Let torch take the first time, and OpenVINO the second."""
    monkeypatch.setattr(backends, "_seconds", lambda ways, *_: list(values[: len(ways)]))


def test_torch_is_taken_as_it_is(
    network: Network, in_torch: Candidates, batches: list[Tensor]
) -> None:
    assert backend_candidates("torch", network, in_torch, batches) == ("torch", in_torch)


@NEEDS_OPENVINO
def test_the_faster_one_is_taken(
    network: Network, in_torch: Candidates, batches: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds(monkeypatch, 2.0, 1.7)
    chosen, way = backend_candidates("auto", network, in_torch, batches)
    assert chosen == "openvino"
    assert isinstance(way, OpenVinoCandidates)

    seconds(monkeypatch, 2.0, 1.9)  # within the noise
    assert backend_candidates("auto", network, in_torch, batches) == ("torch", in_torch)


@NEEDS_OPENVINO
@pytest.mark.usefixtures("always_measured")
def test_both_are_really_measured(
    network: Network, in_torch: Candidates, batches: list[Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    # Compiling takes longer than 11 images of 8x8 in torch.
    with caplog.at_level("INFO"):
        chosen, _ = backend_candidates("auto", network, in_torch, batches)

    assert chosen == "torch"
    assert "s in torch" in caplog.text
    assert "s in OpenVINO" in caplog.text


def test_openvino_is_not_loaded_for_small_work(
    network: Network, in_torch: Candidates, batches: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "OpenVinoCandidates", None)

    assert backend_candidates("auto", network, in_torch, batches) == ("torch", in_torch)


@pytest.mark.usefixtures("always_measured")
def test_without_the_engine_auto_is_torch_and_openvino_an_error(
    network: Network, in_torch: Candidates, batches: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda *_: False)
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)

    assert backend_candidates("auto", network, in_torch, batches)[0] == "torch"
    with pytest.raises(InvalidInput, match=r"in OpenVINO needs .* openvino.*\[engines\]"):
        backend_candidates("openvino", network, in_torch, batches)


@NEEDS_OPENVINO
@pytest.mark.usefixtures("always_measured")
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (topologies.between(nn.GroupNorm(2, 8)), "aten.group_norm"),
        (topologies.Classifier(topologies.DataDependent(), 6), "does not follow"),
    ],
)
def test_a_network_that_openvino_cannot_run(
    module: nn.Module, reason: str, batches: list[Tensor]
) -> None:
    network = traced(module)
    in_torch = candidates_of(network)

    assert backend_candidates("auto", network, in_torch, batches) == ("torch", in_torch)
    with pytest.raises(ModelInvalid, match=rf"{reason}.*set the recipe's backend to auto"):
        backend_candidates("openvino", network, in_torch, batches)


@NEEDS_OPENVINO
def test_a_translation_that_differs_is_refused(
    network: Network, in_torch: Candidates, batches: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "difference_on_half", lambda *_: float("nan"))

    with pytest.raises(ModelInvalid, match="its outputs differ"):
        backend_candidates("openvino", network, in_torch, batches)


@NEEDS_OPENVINO
@pytest.mark.parametrize("repair", ["none", "reconstruction", "recalibration"])
def test_openvino_measures_what_torch_does(network: Network, repair: str) -> None:
    recipe = Recipe.from_json({"repair": repair, "signal": "kl", "batch_size": 16})
    first, second = (
        PolicyEvaluator(network, SEARCH, TRAIN, replace(recipe, backend=backend))
        for backend in ("torch", "openvino")
    )
    policy = Policy.from_widths(network.graph, [width // 2 for width in network.graph.full_widths])

    expected, found = first.evaluate(policy), second.evaluate(policy)

    assert found.hits == expected.hits
    assert found.kl == pytest.approx(expected.kl, rel=1e-4)
    assert (expected.recipe.backend, found.recipe.backend) == ("torch", "openvino")


@NEEDS_OPENVINO
def test_few_images_are_scored_in_torch(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = PolicyEvaluator(network, SEARCH, TRAIN, Recipe(backend="openvino"))
    policy = Policy.from_widths(network.graph, [1] * len(network.graph.full_widths))
    compiled: list[object] = []
    real = OpenVinoCandidates.of
    monkeypatch.setattr(
        OpenVinoCandidates, "of", lambda *arguments: compiled.append(1) or real(*arguments)
    )

    few = evaluator.evaluate(policy, slice(0, 12))
    assert not compiled
    rest = evaluator.evaluate(policy, slice(12, None))
    assert compiled
    assert (few.total, rest.total) == (12, 38)


def test_the_recipe_of_an_evaluator_says_what_was_chosen(network: Network) -> None:
    recipe = Recipe(backend="auto", repair="none")
    evaluator = PolicyEvaluator(network, SEARCH, TRAIN, recipe)
    policy = Policy.from_widths(network.graph, network.graph.full_widths)

    assert evaluator.evaluate(policy).recipe == replace(recipe, backend="torch")
    sent = EvaluatorRecord.of(network, SEARCH, TRAIN, evaluator.recipe, program=evaluator.program)
    assert sent.build().recipe.backend == "torch"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"recipe\.backend is 'tvm'; choose one of: auto, torch"):
        Recipe.from_json({"backend": "tvm"})
