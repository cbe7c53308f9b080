"""What happens to the best trials of a search once it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from automl_compress.core.errors import InvalidInput, UnknownName

EngineFormat = Literal["onnx", "openvino", "pt2", "bundle"]
ENGINE_FORMATS: tuple[EngineFormat, ...] = get_args(EngineFormat)
DistillationDirection = Literal["forward", "reverse"]
TuningRecipe = Literal["at_once", "micronet"]
Precision = Literal["float32", "bfloat16"]
TunedScales = Literal["fitted", "fixed", "learned"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What happens to the best trials once the search has ended.

    top_k: how many of the best trials within each budget are cut, fine-tuned and scored on the
        test split.
    finetune_epochs: passes over the train split, under the recipe `micronet` of each stage that
        trains; 0 scores the repaired network as it is.
    formats: the files that a job writes for engines, beside policy and weights.
    distillation_weight: of the uncut network's answers against the labels while fine-tuning, 0
        (none) to 1; distillation_temperature: both sides' logits are divided by it, above 0.
    distillation_direction: `forward` is KL(uncut || cut), `reverse` is KL(cut || uncut).
    recipe: `at_once` trains the network with all that the policy asks of it; `micronet` goes by
        the stages of the MicroNet Challenge's winners, see `evaluate.stages`.
    finetune_scales: what becomes of the scales of quantised layers while fine-tuning: `fitted` to
        the weights in each step, those of inputs once; `fixed`, both, before the first; or
        `learned` with the weights. Under the recipe `at_once`.
    precision: of convolutions and matrix products while fine-tuning.
    floor_points: how many points of accuracy below the uncut network, tuned alike, a confirmed
        one may be; of those that keep to it the cheapest is the best. None sets no floor.
    """

    top_k: int = 1
    finetune_epochs: int = 3
    formats: tuple[EngineFormat, ...] = ("onnx",)
    distillation_weight: float = 0.0
    distillation_temperature: float = 4.0
    distillation_direction: DistillationDirection = "forward"
    recipe: TuningRecipe = "at_once"
    precision: Precision = "float32"
    floor_points: float | None = None
    finetune_scales: TunedScales = "fitted"

    def __post_init__(self) -> None:
        """Refuse values out of range, and formats that are not there or come twice."""
        if self.top_k < 1 or self.finetune_epochs < 0:
            raise InvalidInput(
                f"confirmation of top_k={self.top_k}, finetune_epochs={self.finetune_epochs}; "
                "top_k is at least 1, finetune_epochs at least 0"
            )
        if not 0 <= self.distillation_weight <= 1 or not 0 < self.distillation_temperature < 1000:
            raise InvalidInput(
                f"distillation_weight={self.distillation_weight}, distillation_temperature="
                f"{self.distillation_temperature}; the weight is 0 to 1, the temperature above 0 "
                "and below 1000"
            )
        for what, value, known in (
            ("distillation direction", self.distillation_direction, DistillationDirection),
            ("recipe of a confirmation", self.recipe, TuningRecipe),
            ("precision", self.precision, Precision),
            ("way with finetune_scales", self.finetune_scales, TunedScales),
        ):
            if value not in get_args(known):
                raise UnknownName(what, value, get_args(known))
        for name in self.formats:
            if name not in ENGINE_FORMATS:
                raise UnknownName("format", name, ENGINE_FORMATS)
        if len(set(self.formats)) < len(self.formats):
            raise InvalidInput(f"formats are {list(self.formats)}; name each once")
        self._check_recipe()

    def _check_recipe(self) -> None:
        if self.floor_points is not None and not 0 <= self.floor_points <= 100:
            raise InvalidInput(
                f"floor_points is {self.floor_points!r}; give 0 to 100 points of accuracy"
            )
        if self.recipe == "at_once":
            if self.floor_points is not None:
                raise InvalidInput(
                    f"floor_points is {self.floor_points!r} under the recipe 'at_once'; set the "
                    "recipe to 'micronet', or leave floor_points out"
                )
            return
        if self.finetune_scales != "fitted":
            raise InvalidInput(
                f"finetune_scales is {self.finetune_scales!r} under the recipe 'micronet', whose "
                "stages fit them; set the recipe to 'at_once', or leave finetune_scales out"
            )
        if not self.finetune_epochs or not self.distillation_weight:
            raise InvalidInput(
                f"the recipe 'micronet' trains in stages and learns from the uncut network, but "
                f"finetune_epochs is {self.finetune_epochs} and distillation_weight is "
                f"{self.distillation_weight:g}; give at least 1 epoch, and a weight above 0"
            )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Confirmation":
        """Read a JSON object; raises InvalidInput for values, TypeError for unknown fields."""
        rest = dict(content)
        if "formats" in rest:
            rest["formats"] = tuple(rest["formats"])
        return cls(**rest)
