"""Training on this machine with a teacher, through the command's own functions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from automl_api.local_teacher import TeacherRequest
from automl_api.local_train import TrainRequest, train_network
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.architectures import build_network
from automl_compress.train.checkpoint import write_checkpoint
from automl_compress.train.config import Distillation
from tests.api.conftest import DIGITS_WEIGHTS

DIGITS = str(DIGITS_WEIGHTS)
SMALL = {"in_channels": 1, "image_size": 8}
TRAIN = ("train", "resnet-20", "digits", "--config", "in_channels=1", "--config", "image_size=8")


def trained(output: Path, teacher: TeacherRequest | None = None, **training: Any) -> dict[str, Any]:
    told = {"epochs": 1, "batch_size": 64, "learning_rate": 0.05} | training
    options = {"max_train_images": 192}
    request = TrainRequest("resnet-20", "digits", output, SMALL, None, options, told, teacher)
    train_network(request, is_silent=True)
    with safe_open(output, "np") as file:
        return json.loads(file.metadata()["document"])


def of_digits(**distillation: Any) -> TeacherRequest:
    return TeacherRequest(DIGITS, None, {}, Distillation(**distillation))


def test_a_student_learns_from_its_teacher_and_its_file_says_so(tmp_path: Path) -> None:
    alone, taught, twin = (tmp_path / f"{name}.safetensors" for name in ("alone", "taught", "twin"))

    plain = trained(alone)
    told = trained(taught, of_digits(weight=0.5, direction="reverse"))
    trained(twin, of_digits(weight=0.0))

    weights = [load_file(path)["linear.weight"] for path in (alone, taught, twin)]
    from_teacher, unheard = (np.abs(each - weights[0]).max() for each in weights[1:])
    assert unheard < 0.1 * from_teacher  # the same but for rounding
    assert "distillation" not in plain
    noted = told["distillation"]
    assert (noted["weight"], noted["temperature"], noted["direction"]) == (0.5, 4.0, "reverse")
    assert noted["teacher"] == "resnet-20"
    assert noted["teacher_fingerprint"].startswith("sha256:")


def test_an_unfinished_training_does_not_go_on_with_another_teacher(tmp_path: Path) -> None:
    output = tmp_path / "student.safetensors"
    other = tmp_path / "other.safetensors"
    network = build_network("resnet-20", SMALL)
    told = {"architecture": "resnet-20", "config": SMALL}
    write_checkpoint(other, network.state_dict(), told)
    trained(output, of_digits())
    unfinished = tmp_path / "student.safetensors.unfinished"

    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("automl_api.local_train.evaluate_accuracy", kill)
        with pytest.raises(Killed):
            trained(output, of_digits())
    assert unfinished.exists()

    with pytest.raises(InvalidInput, match=r"another training.*teacher 'sha256:"):
        trained(output, TeacherRequest(str(other), None, {}, Distillation()))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--distillation-weight", "0.5"], "give --teacher"),
        (["--teacher-weights", DIGITS], "give --teacher"),
        (["--teacher", "resnet-20"], "has no trained weights"),
        (["--teacher", "resnet-32", "--teacher-weights", DIGITS], "the teacher cannot be used"),
        (["--teacher", "none.safetensors"], "none.safetensors"),
        (["--teacher", DIGITS, "--distillation-direction", "sideways"], "forward, reverse"),
        (["--teacher", DIGITS, "--distillation-temperature", "0"], "temperature is 0"),
        (["--teacher", DIGITS, "--config", "num_classes=12"], "gives 10 logits and the student 12"),
        (["--teacher", DIGITS, "--mean", "0.5", "--std", "0.1"], "give the teacher's as --mean"),
        (
            ["--teacher", DIGITS, "--teacher-config", "image_size=16"],
            "but the network takes 1x16x16",
        ),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    refusal: Callable[..., str], arguments: list[str], says: str
) -> None:
    assert says in refusal(*TRAIN, *arguments)


def test_the_demo_has_no_teacher(refusal: Callable[..., str]) -> None:
    assert "'demo' has no teacher" in refusal("train", "demo", "--teacher", DIGITS)
