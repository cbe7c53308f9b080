"""The winners' pipeline on a tiny network and digits, with ratios and bits set by hand."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import automl_compress as library
from automl_compress.compress.packing import unpack
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    LayerChoice,
    Policy,
    Recipe,
    SpaceOptions,
    StudySpec,
)
from automl_compress.core.errors import InvalidInput, UnknownName
from automl_compress.evaluate.confirm import Confirmer
from automl_compress.evaluate.stages import STAGES, Stage, StageReport
from automl_compress.networks.outputs import every_output, select_output
from automl_compress.networks.trace import Network, trace
from automl_compress.train.config import TrainingConfig
from automl_compress.train.randomness import seeded
from automl_compress.train.training import train

STUDY = StudySpec(
    "auto",
    Budget("micronet", 1.0),
    Effort(2),
    SpaceOptions(schemes=("element",), weight_bits=(4, 32), activation_bits=(4, 32)),
    Recipe(images=100, calibration_images=64),
    Confirmation(
        finetune_epochs=2,
        distillation_weight=1.0,
        distillation_direction="reverse",
        recipe="micronet",
        floor_points=2.0,
    ),
)
SPARSITY = 0.5


@dataclass
class Log:
    """Keeps stages in a folder; as if killed, it raises behind the stage `dies_behind`."""

    folder: Path
    dies_behind: Stage | None = None
    reports: list[StageReport] = field(default_factory=list)

    def latest(self, subject: int | None) -> tuple[Stage, Path] | None:
        for report in reversed(self.reports):
            if report.subject == subject and report.stage != "fold":
                return report.stage, self._path(report.stage)
        return None

    def keep(self, report: StageReport, checkpoint: bytes | None) -> None:
        if checkpoint is not None:
            self._path(report.stage).write_bytes(checkpoint)
        if report.stage not in [each.stage for each in self.reports]:
            self.reports.append(report)
        if report.stage == self.dies_behind:
            raise KeyboardInterrupt

    def _path(self, stage: Stage) -> Path:
        return self.folder / f"{stage}.safetensors"


@pytest.fixture(scope="module")
def network() -> Network:
    with seeded(0):
        module = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, 2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
        )
    train(module, library.load_data("digits"), TrainingConfig(epochs=4, batch_size=64))
    return trace(module, (1, 8, 8))


@pytest.fixture(scope="module")
def policy(network: Network) -> Policy:
    """Thin out every layer; the first keeps float inputs, as the winners' does."""
    graph = network.graph
    layers = [layer.name for layer in graph.layers if layer.kind != "other"]
    choices = [
        LayerChoice(name, SPARSITY, 4, 4 if place else 32) for place, name in enumerate(layers)
    ]
    kept = [tuple(range(group.channels)) for group in graph.groups]
    whole = Policy.from_widths(graph, graph.full_widths).with_kept(kept)
    return replace(whole, layers=tuple(choices))


def confirmer(network: Network, log: Log | None = None) -> Confirmer:
    return Confirmer(network, library.load_data("digits"), STUDY, stages=log)


@pytest.fixture(scope="module")
def log(network: Network, policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Log:
    kept = Log(tmp_path_factory.mktemp("stages"))
    confirmer(network, kept).compressed(policy, 7)
    return kept


def test_each_stage_is_told_with_its_score_and_accuracy_as_it_ends(
    network: Network, log: Log
) -> None:
    assert [each.stage for each in log.reports] == list(STAGES)
    assert {each.subject for each in log.reports} == {7}
    assert all(each.measurement.split.startswith("search") for each in log.reports)
    prune, distil, activations, weights, fold = (each.measurement for each in log.reports)
    assert prune.cost.micronet == distil.cost.micronet
    assert distil.cost.bit_operations > activations.cost.bit_operations
    # A product costs the wider of its two: narrow inputs pay once weights are narrow, too.
    assert distil.cost.micronet >= activations.cost.micronet > weights.cost.micronet
    assert weights.cost.micronet == fold.cost.micronet
    assert fold.accuracy > 0.8
    assert weights.accuracy == pytest.approx(fold.accuracy, abs=0.01)


def test_training_behind_a_stage_regains_what_it_took(log: Log) -> None:
    prune, distil = (each.measurement for each in log.reports[:2])

    assert distil.accuracy >= prune.accuracy


def test_folding_moves_no_logit(log: Log) -> None:
    changes = {each.stage: each.logit_change for each in log.reports}

    assert changes.pop("fold") < 1e-4  # type: ignore[operator]
    assert set(changes.values()) == {None}


def test_what_was_pruned_stays_zero_to_the_end(network: Network, policy: Policy, log: Log) -> None:
    tuned = confirmer(network, log).compressed(policy, 7)

    assert tuned.packed is not None
    codes = unpack(tuned.packed).tensors
    for choice in policy.layers:
        weight = tuned.module.get_submodule(choice.layer).weight
        assert isinstance(weight, torch.Tensor)
        assert float((weight == 0).float().mean()) >= SPARSITY - 1e-3
        assert len(weight.flatten(1)[0].unique()) <= 15
        assert f"{choice.layer}.weight" in codes


@pytest.mark.parametrize("stage", ["prune", "activations", "weights", "fold"])
def test_killed_behind_a_stage_it_goes_on_to_the_same_network(
    network: Network, policy: Policy, log: Log, tmp_path: Path, stage: Stage
) -> None:
    interrupted = Log(tmp_path, stage)
    with pytest.raises(KeyboardInterrupt):
        confirmer(network, interrupted).compressed(policy, 7)
    interrupted.dies_behind = None

    again = confirmer(network, interrupted).compressed(policy, 7)

    whole = confirmer(network, log).compressed(policy, 7)
    assert again.packed == whole.packed
    assert [each.stage for each in interrupted.reports] == list(STAGES)  # each once
    told = [each.measurement.correct for each in interrupted.reports]
    assert told == [each.measurement.correct for each in log.reports]


def test_the_uncut_network_goes_through_the_same_training(network: Network, tmp_path: Path) -> None:
    log = Log(tmp_path)

    scores = confirmer(network, log).uncut_scores()

    assert [each.stage for each in log.reports] == list(STAGES)
    assert {each.subject for each in log.reports} == {None}
    assert scores.search is not None
    assert scores.search.split.startswith("search")
    assert scores.test.split.startswith("test")
    costs = {each.measurement.cost.micronet for each in log.reports}
    assert costs == {scores.test.cost.micronet}


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"finetune_epochs": 0}, "at least 1 epoch"),
        ({"distillation_weight": 0.0}, "a weight above 0"),
        ({"recipe": "at_once"}, "set the recipe to 'micronet'"),
        ({"floor_points": -1.0}, "0 to 100 points"),
        ({"recipe": "mikronet"}, "micronet"),
        ({"precision": "float16"}, "bfloat16"),
    ],
)
def test_what_the_stages_cannot_do_is_refused(change: dict[str, Any], advice: str) -> None:
    with pytest.raises((InvalidInput, UnknownName), match=advice):
        replace(STUDY.confirmation, **change)


def test_a_space_that_leaves_layers_alone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="give schemes with 'element'"):
        replace(STUDY, space=SpaceOptions())


class TwoHeads(nn.Module):
    """Digits, and two more numbers of each image that nothing scores."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.digit, self.other = nn.Linear(72, 10), nn.Linear(72, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images).flatten(1)
        return {"other": self.other(features), "digit": self.digit(features)}


def test_a_network_of_two_outputs_goes_through_the_stages_and_keeps_both() -> None:
    shape = (1, 8, 8)
    with seeded(0):
        network = trace(select_output(TwoHeads().eval(), shape, 1), shape)
    layers = tuple(LayerChoice(name, SPARSITY, 4, 4) for name in ("body.0", "digit"))
    whole = Policy.from_widths(network.graph, network.graph.full_widths)
    policy = replace(whole.with_kept([tuple(range(8))]), layers=layers)

    tuned = confirmer(network).compressed(policy, 0)

    assert network.graph.unscored == ("other",)
    other, digit = every_output(tuned.module, torch.rand(3, *shape))
    assert (other.shape, digit.shape) == ((3, 2), (3, 10))
    zeros = tuned.module.get_parameter("digit.weight") == 0
    assert float(zeros.float().mean()) >= SPARSITY - 1e-3
    assert tuned.packed is not None
    left = network.module.get_parameter("other.weight")
    assert torch.equal(tuned.module.get_parameter("other.weight"), left)
    assert torch.equal(unpack(tuned.packed).state_dict()["other.weight"], left)
