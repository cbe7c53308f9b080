"""Training a network of the zoo on this machine."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_api.commands.inputs import read_data, read_model
from automl_api.local_teacher import Teacher, TeacherRequest
from automl_api.sources import ModelSource
from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.data.datasets import ImageData, check_fits
from automl_compress.networks import devices
from automl_compress.networks.architectures import architecture, load_weights
from automl_compress.networks.describe import logit_count
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.checkpoint import write_checkpoint
from automl_compress.train.config import TrainingConfig
from automl_compress.train.demo import train_demo_checkpoint
from automl_compress.train.progress import ProgressCallback, tqdm_progress
from automl_compress.train.randomness import seeded
from automl_compress.train.report import TrainingReport
from automl_compress.train.training import train


@dataclass(frozen=True)
class TrainRequest:
    """What to train, on what, how; `training` are fields of `TrainingConfig`.

    data_options: as `DataSource` has them; the normalisation of the weights' file, or of the
        teacher's, unless given.
    teacher: a network to learn from beside the labels; None learns from them alone.
    """

    architecture: str
    data: str
    output: Path
    config: Mapping[str, Any]
    weights: Path | None
    data_options: Mapping[str, Any]
    training: Mapping[str, Any]
    teacher: TeacherRequest | None = None


def train_network(request: TrainRequest, *, is_silent: bool) -> dict[str, Any]:
    """Train, write the weights with all that is needed to use them again, and report.

    A GPU trains where there is one.

    Raises:
        InvalidInput: names, values or data that do not fit.
        StorageFailed: the disk did not take the file.
    """
    _check_folder(request.output)
    torch.set_num_threads(1)
    device = devices.fastest()
    config = TrainingConfig(**request.training, device=str(device))
    told = read_model(request.architecture, request.weights, request.config)
    teacher = None if request.teacher is None else Teacher.read(request.teacher)
    module, input_shape = _student(told.source, config.seed)
    known = told.normalisation or (None if teacher is None else teacher.told.normalisation)
    data = read_data(request.data, request.data_options, known).load(Path())
    logits = logit_count(module, input_shape)
    check_fits(data, input_shape, logits)
    teaching = None if teacher is None else teacher.load(data, logits)
    unfinished = request.output.with_name(f"{request.output.name}.unfinished")
    with _progress(is_silent) as progress:
        report = train(
            module,
            data,
            config,
            teacher=None if teaching is None else devices.copied_to(teaching, device),
            distillation=None if teacher is None else teacher.distillation,
            checkpoint=unfinished,
            progress=progress,
        )
    document = _document(told.source, data, config, report)
    if teacher is not None and teaching is not None:
        document["distillation"] = teacher.note(teaching)
    split = data.split("search")
    correct, total = evaluate_accuracy(module, split)
    document |= {"search_correct": correct, "search_total": total}
    write_checkpoint(request.output, module.to(devices.PROCESSOR).state_dict(), document)
    unfinished.unlink(missing_ok=True)
    return _summary(request.output, correct, total, split.provenance)


def _student(source: ModelSource, seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Build the network to train; return it with the shape of one image."""
    if source.architecture is None:
        raise InvalidInput(
            f"{Path(source.program or '').name} is a program; train takes a registered "
            "architecture, and search or run fine-tune a program"
        )
    chosen = architecture(source.architecture)
    settings = chosen.configure(source.config)
    with seeded(seed):  # the first weights, where none are read
        module = chosen.build(settings).eval()  # counting logits moves no norm's statistics
    if source.weights is not None:
        load_weights(module, Path(source.weights))
    return module, chosen.input_shape(settings)


def _document(
    source: ModelSource, data: ImageData, config: TrainingConfig, report: TrainingReport
) -> dict[str, Any]:
    """Return what a weights file says of how it was made."""
    return {
        "architecture": source.architecture,
        "config": dict(source.config),
        "data": data.name,
        "normalisation": asdict(data.normalisation),
        "augmentation": asdict(data.augmentation),
        "training": asdict(config),
        "trained_on": report.provenance,
        "search_split": data.split("search").provenance,
    }


def train_demo(output: Path, *, is_silent: bool) -> dict[str, Any]:
    """Make the checkpoint that ships with the package.

    Raises:
        StorageFailed: the disk did not take the file.
    """
    _check_folder(output)
    torch.set_num_threads(1)
    with _progress(is_silent) as progress:
        made = train_demo_checkpoint(output, progress)
    return _summary(made.path, made.search_correct, made.search_total, "the search split")


def _summary(path: Path, correct: int, total: int, split: str) -> dict[str, Any]:
    return {
        "path": str(path),
        "correct": correct,
        "total": total,
        "accuracy": correct / total,
        "split": split,
    }


@contextmanager
def _progress(is_silent: bool) -> Generator[ProgressCallback | None]:
    if is_silent:
        yield None
        return
    with tqdm_progress() as show:
        yield show


def _check_folder(path: Path) -> None:
    """Find out before the training, not after it."""
    if not path.absolute().parent.is_dir():
        raise StorageFailed(
            f"{path} cannot be written: the folder {path.absolute().parent} does not exist; make "
            "it, or choose another place with -o"
        )
