"""The training loop: from scratch, fine-tuning, and distillation are all this one."""

from pathlib import Path

from torch import nn

from automl_compress.data.datasets import ImageData
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.randomness import seeded
from automl_compress.train.report import TrainingReport
from automl_compress.train.run import TrainingRun


def train(
    module: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    *,
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
    max_train_images: int | None = None,
) -> TrainingReport:
    """Train `module` in place on the train split; no other split is looked at.

    Killed at any moment and called again with the same arguments, it goes on behind the last
    whole epoch in `checkpoint`, and ends with the weights of an uninterrupted run.

    Args:
        module: maps (B, C, H, W) to logits (B, num_classes); ends in evaluation mode.
        data: its train split and its augmentation are used.
        config: how.
        teacher: an uncut network on the same device to learn from; left as it was.
        distillation: how to learn from it; None takes the defaults.
        checkpoint: written after every epoch; where it exists, training goes on from it.
        progress: called after every batch; what it raises ends the training.
        max_train_images: only the first of the train split.

    Raises:
        InvalidInput: the loss is no longer finite, the checkpoint is of another training, or
            arguments don't go together.
        WeightsMismatch: the checkpoint is of another network.
        StorageFailed: the disk did not take a checkpoint.
    """
    run = TrainingRun(module, data, config, max_train_images)
    run.distil(teacher, distillation)
    with seeded(config.seed):
        if checkpoint is not None and checkpoint.exists():
            run.restore(checkpoint)
        while not run.is_finished():
            run.train_epoch(progress)
            if checkpoint is not None:
                run.save(checkpoint)
    return run.finish()
