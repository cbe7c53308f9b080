"""Training: that it learns, and that a killed run ends like one that nobody touched."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from automl_compress.core.errors import InvalidInput, StorageFailed, WeightsMismatch
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData, Normalisation, Split
from automl_compress.train import checkpoint as checkpoint_module
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.loss import distillation_loss, training_loss
from automl_compress.train.progress import TrainingProgress, tqdm_progress
from automl_compress.train.randomness import seeded
from automl_compress.train.report import EpochReport, TrainingReport
from automl_compress.train.schedule import learning_rate_at
from automl_compress.train.training import train


def made_split(name: str, count: int, seed: int) -> Split:
    """Class 1 is bright on the left, class 0 on the right, under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 160, (count, 1, 6, 6))
    images[labels == 1, :, :, :3] += 90
    images[labels == 0, :, :, 3:] += 90
    pixels = torch.from_numpy(images.astype(np.uint8))
    return Split(name, pixels, torch.from_numpy(labels), Normalisation((0.4,), (0.2,)), name)


def made_data() -> ImageData:
    split = made_split("train", 96, 0)
    shape, augmentation = (1, 6, 6), Augmentation(crop_padding=1)
    # No search and no test split: training must not ask for them.
    return ImageData("made", 2, shape, split.normalisation, augmentation, {"train": split})


def made_network() -> nn.Module:
    with seeded(5):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 1, bias=False),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(64, 2),
        )


CONFIG = TrainingConfig(epochs=4, batch_size=16, learning_rate=0.05, holdout_images=16)


def without_seconds(report: TrainingReport) -> list[EpochReport]:
    return [replace(epoch, seconds=0.0, cpu_seconds=0.0) for epoch in report.epochs]


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_training_learns_and_reports_every_epoch(schedule: str) -> None:
    network = made_network()

    report = train(network, made_data(), replace(CONFIG, schedule=schedule, label_smoothing=0.1))

    assert [epoch.epoch for epoch in report.epochs] == [1, 2, 3, 4]
    assert report.epochs[-1].loss < report.epochs[0].loss
    assert report.epochs[-1].holdout_accuracy is not None
    assert report.epochs[-1].holdout_accuracy > 0.9
    assert (report.kept_epoch, report.is_stopped_early) == (4, False)
    assert report.provenance == "train, 80 images all but those held out"
    assert not network.training


def test_same_seed_gives_the_same_weights_and_another_seed_does_not() -> None:
    def weights(seed: int) -> torch.Tensor:
        network = made_network()
        train(network, made_data(), replace(CONFIG, seed=seed))
        return torch.cat([value.flatten() for value in network.parameters()])

    first = weights(0)

    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_training_in_bfloat16_learns_and_keeps_weights_in_float32() -> None:
    module, twin = made_network(), made_network()

    report = train(module, made_data(), replace(CONFIG, precision="bfloat16"))
    train(twin, made_data(), CONFIG)

    assert (report.epochs[-1].holdout_accuracy or 0) > 0.9
    states = zip(module.state_dict().values(), twin.state_dict().values(), strict=True)
    pairs = [(mixed, single) for mixed, single in states if mixed.is_floating_point()]
    assert all(mixed.dtype == torch.float32 for mixed, _ in pairs)
    assert any(not torch.equal(mixed, single) for mixed, single in pairs)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()

    train(made_network(), made_data(), CONFIG)

    assert torch.equal(before, torch.get_rng_state())


def train_until_killed(path: Path) -> None:
    """Train, and be killed with -9 in the middle of the third epoch."""

    def kill(progress: TrainingProgress) -> None:
        if (progress.epoch, progress.batch) == (3, 2):
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    train(made_network(), made_data(), CONFIG, checkpoint=path, progress=kill)


def test_run_killed_with_9_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    code = (
        "import runpy, sys, pathlib\n"
        "runpy.run_path(sys.argv[1])['train_until_killed'](pathlib.Path(sys.argv[2]))"
    )
    root = Path(__file__).resolve().parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", code, __file__, str(path)], cwd=root, timeout=60, check=False
    )
    untouched, resumed, shown = made_network(), made_network(), []

    whole = train(untouched, made_data(), CONFIG)
    rest = train(resumed, made_data(), CONFIG, checkpoint=path, progress=shown.append)

    assert killed.returncode == -signal.SIGKILL
    assert {progress.epoch for progress in shown} == {3, 4}
    assert without_seconds(rest) == without_seconds(whole)
    torch.testing.assert_close(resumed.state_dict(), untouched.state_dict(), rtol=0, atol=0)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    first, second = made_network(), made_network()
    report = train(first, made_data(), CONFIG, checkpoint=path)

    def complain(_: TrainingProgress) -> None:
        pytest.fail("trained again")

    again = train(second, made_data(), CONFIG, checkpoint=path, progress=complain)

    assert again == report
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    train(made_network(), made_data(), replace(CONFIG, epochs=1), checkpoint=path)

    with pytest.raises(InvalidInput, match=r"another training \(epochs 1 instead of 4\)"):
        train(made_network(), made_data(), CONFIG, checkpoint=path)
    other = nn.Sequential(nn.Conv2d(1, 5, 3), nn.Flatten(), nn.Linear(80, 2))
    with pytest.raises(WeightsMismatch, match="of another shape"):
        train(other, made_data(), replace(CONFIG, epochs=1), checkpoint=path)


def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a checkpoint")

    with pytest.raises(InvalidInput, match=r"notes.txt is not a training checkpoint"):
        train(made_network(), made_data(), CONFIG, checkpoint=tmp_path / "notes.txt")


def test_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "training.safetensors"
    train(made_network(), made_data(), replace(CONFIG, epochs=1), checkpoint=path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left on device"):
        checkpoint_module.write_tensors(path, {"new": torch.zeros(3)}, {})

    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_early_stop_keeps_the_best_epoch(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=30, early_stop_patience=2)
    path, network = tmp_path / "training.safetensors", made_network()

    report = train(network, made_data(), config, checkpoint=path)

    accuracies = [epoch.holdout_accuracy or 0.0 for epoch in report.epochs]
    assert report.is_stopped_early
    assert report.kept_epoch == 1 + accuracies.index(max(accuracies))
    assert len(accuracies) == report.kept_epoch + 2
    # A run of just so many epochs would have another schedule, so the weights are compared
    # with those that a resumed run finds in the checkpoint.
    resumed = made_network()
    assert train(resumed, made_data(), config, checkpoint=path) == report
    torch.testing.assert_close(resumed.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_diverging_loss_names_epoch_and_remedy() -> None:
    config = replace(CONFIG, learning_rate=500.0, epochs=30, momentum=0.99)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 2))

    with pytest.raises(InvalidInput, match=r"in epoch \d+, batch \d+; lower learning_rate \(now"):
        train(network, made_data(), config)


def test_progress_counts_batches_and_may_end_the_training() -> None:
    seen: list[TrainingProgress] = []

    def stop(progress: TrainingProgress) -> None:
        seen.append(progress)
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(made_network(), made_data(), CONFIG, progress=stop)

    assert [(each.epoch, each.batch) for each in seen[-2:]] == [(1, 5), (2, 1)]
    assert (seen[0].epochs, seen[0].batches) == (4, 5)


def test_progress_bar_ends_at_the_last_batch(capsys: pytest.CaptureFixture[str]) -> None:
    with tqdm_progress("fine-tuning") as progress:
        train(made_network(), made_data(), CONFIG, progress=progress)

    shown = capsys.readouterr().err
    assert "fine-tuning" in shown
    assert "20/20" in shown
    assert "epoch 4/4" in shown


def test_only_the_first_images_are_trained_on_request() -> None:
    config = replace(CONFIG, holdout_images=0)

    report = train(made_network(), made_data(), config, max_train_images=32)

    assert report.provenance == "train, of these 0-31"


def test_too_many_held_out_images_are_refused() -> None:
    with pytest.raises(InvalidInput, match="96 training images less 95 held out"):
        train(made_network(), made_data(), replace(CONFIG, holdout_images=95))


# --- distillation


def test_student_of_weight_one_learns_without_labels() -> None:
    teacher, student = made_network(), made_network()
    train(teacher, made_data(), CONFIG)
    teacher.train()
    data = made_data()
    wrong = replace(data.split("train"), labels=1 - data.split("train").labels)
    mislabelled = replace(data, splits={"train": wrong})
    before = {key: value.clone() for key, value in teacher.state_dict().items()}

    report = train(
        student,
        mislabelled,
        CONFIG,
        teacher=teacher,
        distillation=Distillation(temperature=2.0, weight=1.0),
    )

    assert report.epochs[-1].train_accuracy < 0.2  # of the wrong labels: it follows the teacher
    assert teacher.training
    torch.testing.assert_close(teacher.state_dict(), before, rtol=0, atol=0)


def test_distillation_without_a_teacher_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs a teacher"):
        train(made_network(), made_data(), CONFIG, distillation=Distillation())


def test_distillation_loss_is_the_divergence_times_squared_temperature() -> None:
    # Two classes at logits (ln 3, 0) and (0, 0): probabilities (3/4, 1/4) and (1/2, 1/2).
    teacher, student = torch.tensor([[np.log(3.0), 0.0]]), torch.zeros(1, 2)

    forward = distillation_loss(student, teacher, Distillation(temperature=1.0))
    reverse = distillation_loss(student, teacher, Distillation(1.0, direction="reverse"))
    doubled = distillation_loss(2 * student, 2 * teacher, Distillation(temperature=2.0))

    assert forward.item() == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert reverse.item() == pytest.approx(0.5 * np.log(2 / 3) + 0.5 * np.log(2.0))
    assert doubled.item() == pytest.approx(4 * forward.item())


def test_training_loss_weighs_labels_against_the_teacher() -> None:
    logits, labels, teacher = torch.tensor([[1.0, -1.0]]), torch.tensor([1]), torch.zeros(1, 2)
    distillation = Distillation(temperature=1.0, weight=0.25)

    mixed = training_loss(logits, labels, 0.0, teacher, distillation)

    from_labels = nn.functional.cross_entropy(logits, labels)
    from_teacher = distillation_loss(logits, teacher, distillation)
    torch.testing.assert_close(mixed, 0.75 * from_labels + 0.25 * from_teacher)


# --- schedule and config


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "linear"])
@pytest.mark.parametrize("steps", [10, 57])
def test_schedule_agrees_with_torch(schedule: str, steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    if schedule == "cosine":
        reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    elif schedule == "linear":
        reference = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    else:
        reference = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.4, total_steps=steps, cycle_momentum=False
        )
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step() if len(expected) < steps else None

    rates = [learning_rate_at(schedule, 0.4, step, steps) for step in range(steps)]

    assert rates == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_shortest_cycles_have_finite_rates(steps: int) -> None:
    rates = [learning_rate_at("one-cycle", 1.0, step, steps) for step in range(steps)]

    assert all(0 < rate <= 1 for rate in rates)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("schedule", "steps"),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("label_smoothing", "0.1"),
        ("holdout_images", -1),
        ("early_stop_patience", 0),
    ],
)
def test_config_out_of_range_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"{field} is {value!r}"):
        TrainingConfig(**{field: value})  # type: ignore[arg-type]


def test_early_stop_without_held_out_images_is_refused() -> None:
    with pytest.raises(InvalidInput, match="watches held-out training images"):
        TrainingConfig(early_stop_patience=3)


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 0), ("weight", 1.1), ("direction", "both")]
)
def test_distillation_out_of_range_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"{field} is {value!r}"):
        Distillation(**{field: value})  # type: ignore[arg-type]
