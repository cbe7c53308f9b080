"""How a candidate is scored. Part of the study, stored in every measurement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from automl_compress.core.errors import InvalidInput
from automl_compress.core.pruning_net import PruningNetConfig

Repair = Literal["none", "reconstruction", "recalibration", "distillation"]
Signal = Literal["accuracy", "cross_entropy", "kl"]
Weights = Literal["inherited", "pruning_net"]
Backend = Literal["auto", "torch", "openvino", "cuda"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a candidate is scored.

    repair: what mends the cut network before it is scored: nothing, least-squares feature-map
        reconstruction, batch-norm recalibration, which sees the weights sparse and quantised
        where they become so, or, behind that, a short distillation: one pass over the calibration
        images, learning from the uncut network with weights and inputs as they become.
    signal: what the searcher sees: accuracy, minus the cross-entropy, or minus the
        Kullback-Leibler divergence from the uncut network's predictions. Higher is better.
    images: how many images of the search split score a candidate; None for all.
    calibration_images: how many images of the train split serve the repair.
    weights: where a candidate's weights come from: cut out of the uncut network, or generated
        by a PruningNet, which is trained once before the search.
    pruning_net: how that is trained; set where `weights` says so, and only there.
    backend: what runs the candidates: torch or OpenVINO on the processor, or torch on a GPU,
        `cuda`. `auto` takes the fastest of those that are there, by a measurement when the search
        begins; a measurement's own recipe says which that was.
    """

    repair: Repair = "reconstruction"
    signal: Signal = "accuracy"
    images: int | None = None
    calibration_images: int = 512
    batch_size: int = 32
    seed: int = 0
    weights: Weights = "inherited"
    pruning_net: PruningNetConfig | None = None
    backend: Backend = "torch"

    def __post_init__(self) -> None:
        """Refuse unknown words, counts below one, and what does not go together."""
        words = ("repair", Repair), ("signal", Signal), ("weights", Weights), ("backend", Backend)
        for name, known in words:
            if getattr(self, name) not in get_args(known):
                raise InvalidInput(
                    f"recipe.{name} is {getattr(self, name)!r}; "
                    f"choose one of: {', '.join(get_args(known))}"
                )
        for name in ("images", "calibration_images", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"recipe.{name} is {value!r}; give an integer of at least 1")
        self._settle_weights()

    def _settle_weights(self) -> None:
        if self.weights == "inherited":
            if self.pruning_net is not None:
                raise InvalidInput(
                    "recipe.pruning_net is given but recipe.weights is 'inherited'; "
                    "set weights to 'pruning_net', or leave pruning_net out"
                )
            return
        if self.repair == "reconstruction":
            raise InvalidInput(
                "recipe.repair is 'reconstruction' but recipe.weights is 'pruning_net', whose "
                "weights do not stem from the uncut network; "
                "choose recalibration, distillation, or none"
            )
        if self.pruning_net is None:
            object.__setattr__(self, "pruning_net", PruningNetConfig())

    @property
    def repair_passes(self) -> int:
        """Forward passes over the calibration images that every candidate costs.

        Distilling is the teacher's pass, the candidate's, and a backward pass of twice its work,
        behind the recalibration's. A reconstruction counts none: the uncut network alone is run.
        """
        return {"recalibration": 1, "distillation": 5}.get(self.repair, 0)

    def score(self, accuracy: float, cross_entropy: float | None, kl: float | None) -> float:
        """Return what the searcher sees of these; higher is better."""
        if self.signal == "accuracy":
            return accuracy
        value = kl if self.signal == "kl" else cross_entropy
        assert value is not None
        return -value

    def unrepaired(self) -> "Recipe":
        """Return the recipe that scores the same images without mending what it cut."""
        return replace(self, repair="none", weights="inherited", pruning_net=None)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Recipe":
        """Read what `to_json` wrote; raises InvalidInput."""
        rest = dict(content)
        if rest.get("pruning_net") is not None:
            rest["pruning_net"] = PruningNetConfig.from_json(rest["pruning_net"])
        return cls(**rest)
