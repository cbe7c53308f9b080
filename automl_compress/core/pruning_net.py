"""How a PruningNet is trained: what decides the weights that it generates."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from automl_compress.core.errors import InvalidInput

Mode = Literal["corrected", "faithful"]
Start = Literal["trained", "random"]
Sampling = Literal["sandwich", "single"]
Schedule = Literal["one-cycle", "cosine", "linear"]
Precision = Literal["float32", "bfloat16"]

#: Keep ratios that structures are drawn from: 0.10, 0.13 ... 1.00 (Liu et al., ICCV 2019).
CHANNEL_SCALES = tuple(round(0.10 + 0.03 * step, 2) for step in range(31))
LARGEST_RANK = 32
STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 1200, 3, 30  # of a training whose epochs are left open


@dataclass(frozen=True, slots=True)
class PruningNetConfig:
    """What a PruningNet is and how it is trained. The defaults are the corrected mode.

    mode: `corrected`, or `faithful` to the public code; says which defaults the other fields
        have when they are read from JSON.
    rank: terms of the correction that depends on the structure, 0 to 32; 0 shares one weight.
    starts_from: the `trained` network, or `random` weights.
    sampling: structures in a training step. `single` is one at random; `sandwich` the largest,
        which learns the labels, with the smallest and one at random, which learn from it.
    epochs: passes over the images; None for as many as make some 1,200 steps, 3 to 30.
    batch_size: 2 or more, as batch normalisation needs two images.
    learning_rate: the highest of the schedule.
    schedule: `one-cycle`, `cosine` or `linear` (down to zero).
    weight_decay: factor of the L2 penalty.
    label_smoothing: share of the target spread over all classes, 0 to below 1.
    precision: of convolutions; `bfloat16` pays on processors with AMX.
    images: only the first of the train split; None for all of it.
    seed: decides order, augmentation and structures.
    """

    mode: Mode = "corrected"
    rank: int = 4
    starts_from: Start = "trained"
    sampling: Sampling = "sandwich"
    epochs: int | None = None
    batch_size: int = 128
    learning_rate: float = 0.02
    schedule: Schedule = "one-cycle"
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    precision: Precision = "float32"
    images: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown words and values outside their ranges."""
        words: dict[str, Any] = {
            "mode": Mode,
            "starts_from": Start,
            "sampling": Sampling,
            "schedule": Schedule,
            "precision": Precision,
        }
        for name, known in words.items():
            if getattr(self, name) not in get_args(known):
                _refuse(name, getattr(self, name), f"choose one of: {', '.join(get_args(known))}")
        for name, lowest in (("rank", 0), ("batch_size", 2), ("seed", 0)):
            _check_integer(name, getattr(self, name), lowest)
        for name, lowest in (("epochs", 1), ("images", 2)):
            if getattr(self, name) is not None:
                _check_integer(name, getattr(self, name), lowest)
        if self.rank > LARGEST_RANK:
            _refuse("rank", self.rank, f"give a whole number from 0 to {LARGEST_RANK}")
        below = {"learning_rate": 1e3, "weight_decay": 1.0, "label_smoothing": 1.0}
        for name, limit in below.items():
            _check_number(name, getattr(self, name), limit)

    @classmethod
    def faithful(cls) -> "PruningNetConfig":
        """Return the constants of the public code for MobileNet (liuzechun/MetaPruning).

        64 epochs of batches of 512; learning rate 0.25, linear to 0; rank 32 from random weights;
        one uniform random structure in a step; no weight decay (that of MobileNetV2). Its 31
        copies of each batch normalisation are not kept: they differ in running statistics alone,
        and these are taken anew for every candidate.
        """
        return cls(
            mode="faithful",
            rank=32,
            starts_from="random",
            sampling="single",
            epochs=64,
            batch_size=512,
            learning_rate=0.25,
            schedule="linear",
            weight_decay=0.0,
            label_smoothing=0.1,
        )

    def epochs_over(self, images: int) -> int:
        """Return how many passes over so many images the training makes."""
        if self.epochs is not None:
            return self.epochs
        steps = -(-images // self.batch_size)
        return min(max(-(-STEPS // steps), FEWEST_EPOCHS), MOST_EPOCHS)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PruningNetConfig":
        """Read fields; those left out have the defaults of the mode. Raises InvalidInput."""
        known = [each.name for each in fields(cls)]
        unknown = sorted(set(content) - set(known))
        if unknown:
            raise InvalidInput(
                f"recipe.pruning_net has no field {', '.join(map(str, unknown))}; "
                f"it has: {', '.join(known)}"
            )
        defaults = cls.faithful() if content.get("mode") == "faithful" else cls()
        return replace(defaults, **content)


def _check_integer(name: str, value: object, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        _refuse(name, value, f"give a whole number, {lowest} or more")


def _check_number(name: str, value: object, below: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= float(value) < below:  # type: ignore[arg-type]
        _refuse(name, value, f"give a number from 0 to below {below:g}")


def _refuse(name: str, value: object, remedy: str) -> None:
    raise InvalidInput(f"recipe.pruning_net.{name} is {value!r}; {remedy}")
