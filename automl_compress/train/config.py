"""How a network is trained; every value that can change the result is in here."""

import math
from dataclasses import dataclass

from automl_compress.core.errors import InvalidInput

SCHEDULES = ("one-cycle", "cosine", "linear")
PRECISIONS = ("float32", "bfloat16")
DIRECTIONS = ("forward", "reverse")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Stochastic gradient descent with momentum.

    Attributes:
        epochs: passes over the training images, 1 or more.
        batch_size: 2 or more, as batch normalisation needs two images.
        learning_rate: the highest of the schedule.
        schedule: `one-cycle` (up, then down to almost zero), `cosine` or `linear` (down to zero).
        momentum: 0 (none) to below 1.
        nesterov: look ahead along the momentum; needs momentum.
        weight_decay: factor of the L2 penalty, on all parameters.
        label_smoothing: share of the target spread over all classes, 0 to below 1.
        seed: decides order, augmentation and dropout.
        holdout_images: of the train split, not trained on; accuracy on them is reported.
        early_stop_patience: stop after that many epochs without a better holdout accuracy, and
            keep the best epoch's weights; None trains all epochs and keeps the last.
        device: a torch device; only on `cpu` is a resumed run the same bit for bit.
        channels_last: memory format while training, where images have height and width; faster for
            most convolutions.
        precision: of convolutions and matrix products; `bfloat16` keeps the weights, their
            update, normalisation and the loss in float32, and is about twice as fast on
            processors with AMX, slower on those that lack bfloat16.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "one-cycle"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    seed: int = 0
    holdout_images: int = 0
    early_stop_patience: int | None = None
    device: str = "cpu"
    channels_last: bool = True
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        _require_at_least("epochs", self.epochs, 1)
        _require_at_least("batch_size", self.batch_size, 2)
        _require_at_least("seed", self.seed, 0)
        _require_at_least("holdout_images", self.holdout_images, 0)
        _require_between("learning_rate", self.learning_rate, 0, 1000, "above")
        _require_between("momentum", self.momentum, 0, 1)
        _require_between("weight_decay", self.weight_decay, 0, 1)
        _require_between("label_smoothing", self.label_smoothing, 0, 1)
        _require_one_of("schedule", self.schedule, SCHEDULES)
        _require_one_of("precision", self.precision, PRECISIONS)
        if self.nesterov and self.momentum == 0:
            raise InvalidInput("nesterov needs momentum above 0; set one, or nesterov=False")
        if self.early_stop_patience is not None:
            _require_at_least("early_stop_patience", self.early_stop_patience, 1)
            if not self.holdout_images:
                raise InvalidInput(
                    f"early_stop_patience is {self.early_stop_patience} but holdout_images is 0; "
                    "early stopping watches held-out training images, so hold some out"
                )


@dataclass(frozen=True, slots=True)
class Distillation:
    """Learn from the logits of a teacher beside the labels.

    Attributes:
        temperature: both sides' logits are divided by it, above 0.
        weight: of the teacher against the labels, 0 to 1.
        direction: `forward` is KL(teacher || student), which covers all that the teacher finds
            possible; `reverse` is KL(student || teacher), which settles on its likeliest answer.
    """

    temperature: float = 4.0
    weight: float = 0.9
    direction: str = "forward"

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        _require_between("temperature", self.temperature, 0, 1000, "above")
        _require_one_of("direction", self.direction, DIRECTIONS)
        if not 0 <= self.weight <= 1:
            raise InvalidInput(f"weight is {self.weight!r}; give a number from 0 to 1")


def _require_at_least(field: str, value: object, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise InvalidInput(f"{field} is {value!r}; give a whole number, {lowest} or more")


def _require_between(
    field: str, value: object, lowest: float, below: float, word: str = "from"
) -> None:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    is_high_enough = number > lowest if word == "above" else number >= lowest
    if not is_high_enough or not number < below:
        raise InvalidInput(
            f"{field} is {value!r}; give a number {word} {lowest:g} to below {below:g}"
        )


def _require_one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidInput(f"{field} is {value!r}; choose one of: {', '.join(allowed)}")
