"""How a candidate is scored. Part of the study, stored in every measurement."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from automl_compress.core.errors import InvalidInput

Repair = Literal["none", "reconstruction", "recalibration"]
Signal = Literal["accuracy", "cross_entropy", "kl"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a candidate is scored.

    repair: what mends the cut network before it is scored: nothing, least-squares feature-map
        reconstruction, or batch-norm recalibration.
    signal: what the searcher sees: accuracy, minus the cross-entropy, or minus the
        Kullback-Leibler divergence from the uncut network's predictions. Higher is better.
    images: how many images of the search split score a candidate; None for all.
    calibration_images: how many images of the train split serve the repair.
    """

    repair: Repair = "reconstruction"
    signal: Signal = "accuracy"
    images: int | None = None
    calibration_images: int = 512
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown words and counts below one."""
        for name, known in (("repair", Repair), ("signal", Signal)):
            if getattr(self, name) not in get_args(known):
                raise InvalidInput(
                    f"recipe.{name} is {getattr(self, name)!r}; "
                    f"choose one of: {', '.join(get_args(known))}"
                )
        for name in ("images", "calibration_images", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"recipe.{name} is {value!r}; give an integer of at least 1")

    def score(self, accuracy: float, cross_entropy: float | None, kl: float | None) -> float:
        """Return what the searcher sees of these; higher is better."""
        if self.signal == "accuracy":
            return accuracy
        value = kl if self.signal == "kl" else cross_entropy
        assert value is not None
        return -value

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        return asdict(self)
