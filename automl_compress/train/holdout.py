"""Images of the train split that training itself keeps aside."""

from dataclasses import replace

import torch
from torch import Tensor

from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import Split
from automl_compress.data.rows import stratified_order
from automl_compress.train.config import TrainingConfig


def hold_out(
    split: Split, config: TrainingConfig, max_train_images: int | None
) -> tuple[Split, Split | None]:
    """Separate `holdout_images`, of all classes alike, from those to train on.

    Returns:
        What to train on, and what was held out, if anything.

    Raises:
        InvalidInput: fewer than two images would be left to train on.
    """
    if max_train_images is not None:
        split = split.subset(0, min(max_train_images, len(split)))
    if len(split) - config.holdout_images < 2:
        raise InvalidInput(
            f"{len(split)} training images less {config.holdout_images} held out leave fewer than "
            "two; hold out fewer"
        )
    if not config.holdout_images:
        return split, None
    order = torch.from_numpy(stratified_order(split.labels.numpy(), config.seed))
    kept, held = order[: -config.holdout_images], order[-config.holdout_images :]
    return _pick(split, kept, "all but those held out"), _pick(split, held, "held out")


def _pick(split: Split, indices: Tensor, which: str) -> Split:
    return replace(
        split,
        images=split.images[indices],
        labels=split.labels[indices],
        provenance=f"{split.provenance}, {len(indices):,} images {which}",
    )
