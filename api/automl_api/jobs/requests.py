"""What a user sends to have a search done.

Types are checked here, meaning where the nouns are made. A test holds the defaults to those of
`automl_compress.core`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from automl_agents.catalogue import complete_recipe
from automl_api.bodies import Identity, Name, RequestBody
from automl_compress.core import Confirmation, Metric, StudySpec
from automl_compress.core.confirmation import (
    ENGINE_FORMATS,
    DistillationDirection,
    EngineFormat,
    Precision,
    TunedScales,
    TuningRecipe,
)
from automl_compress.core.recipe import Backend, Repair, Signal, Weights
from automl_compress.core.space_options import SparsityScheme
from automl_compress.core.study import MOST_BUDGETS, MOST_LATENCY_BATCH
from automl_compress.core.weight_grids import WeightScales
from automl_compress.store.jobs import LEAST_PRIORITY, MOST_PRIORITY

# Names of searchers and the like, which names of jobs may be made of.
SHORT_TEXT = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]
GroupName = Annotated[str, Field(max_length=1000)]
BitWidth = Literal[1, 2, 3, 4, 5, 6, 7, 8, 16, 32]


def _ascending(bits: list[BitWidth]) -> list[BitWidth]:
    if sorted(set(bits)) != bits:
        raise ValueError("give each bit-width once, ascending")
    return bits


BitWidths = Annotated[list[BitWidth], Field(max_length=10), AfterValidator(_ascending)]


class BudgetBody(RequestBody):
    """What the compressed network may cost, as the ratio that is kept."""

    metric: Metric = "macs"
    ratio: Annotated[float, Field(gt=0, le=1)]


class EffortBody(RequestBody):
    """What the search may cost; it ends at whichever comes first.

    trial_seconds, trial_memory_bytes: a trial that takes more is killed and has failed.
    """

    evaluations: Annotated[float, Field(ge=1, le=1_000_000)]
    wall_seconds: Annotated[float, Field(gt=0)] | None = None
    trial_seconds: Annotated[float, Field(gt=0)] | None = None
    trial_memory_bytes: Annotated[int, Field(gt=0, le=2**50)] | None = None


class SpaceBody(RequestBody):
    """What a policy may decide; groups and layers by the names of the model."""

    max_sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.9
    round_to: Literal[1, 2, 4, 8, 16] = 1
    skip: Annotated[list[GroupName], Field(max_length=10_000)] = Field(default_factory=list[str])
    fix: Annotated[
        dict[GroupName, Annotated[float, Field(ge=0, lt=1)]], Field(max_length=10_000)
    ] = Field(default_factory=dict[str, float])
    criterion: SHORT_TEXT = "l1"
    schemes: Annotated[list[SparsityScheme], Field(max_length=2)] = Field(
        default_factory=lambda: ["channel"]
    )
    weight_bits: BitWidths = Field(default_factory=list[BitWidth])
    activation_bits: BitWidths = Field(default_factory=list[BitWidth])
    edge_bits: BitWidth | None = 8
    quantiser: SHORT_TEXT = "scan"
    max_element_sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.95
    density_step: Annotated[int, Field(ge=1, le=50)] = 5
    weight_scales: WeightScales = "channel"


class RecipeBody(RequestBody):
    """How a candidate is scored."""

    repair: Repair = "reconstruction"
    signal: Signal = "accuracy"
    images: Annotated[int, Field(ge=1)] | None = None
    calibration_images: Annotated[int, Field(ge=1)] = 512
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    weights: Weights = "inherited"
    pruning_net: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    backend: Backend = "auto"


class ConfirmationBody(RequestBody):
    """What happens to the best trials."""

    top_k: Annotated[int, Field(ge=1, le=100)] = 1
    finetune_epochs: Annotated[int, Field(ge=0, le=10_000)] = 3
    formats: Annotated[list[EngineFormat], Field(max_length=len(ENGINE_FORMATS))] = Field(
        default_factory=lambda: list(Confirmation().formats)
    )
    distillation_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    distillation_temperature: Annotated[float, Field(gt=0, lt=1000)] = 4.0
    distillation_direction: DistillationDirection = "forward"
    recipe: TuningRecipe = "at_once"
    precision: Precision = "float32"
    floor_points: Annotated[float, Field(ge=0, le=100)] | None = None
    finetune_scales: TunedScales = "fitted"


class StudyBody(RequestBody):
    """One search; `smaller_ratios` are further budgets, falling, each with a policy of its own.

    target: whose latency is predicted: `cpu-onnxruntime` or `cpu-openvino`, measured by the worker
        when the job begins, or the id of a target. latency_batch: images of one call there.
    accuracy_floor: a fraction; the best policy is the one that costs least in the budget's metric
        among those of at least this accuracy on the search images, before tuning.
    """

    searcher: SHORT_TEXT = "auto"
    budget: BudgetBody
    effort: EffortBody
    space: SpaceBody | None = None
    recipe: RecipeBody | None = None
    confirmation: ConfirmationBody | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    parallelism: Annotated[int, Field(ge=1, le=256)] = 1
    searcher_options: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=100)
    target: SHORT_TEXT | None = None
    latency_batch: Annotated[int, Field(ge=1, le=MOST_LATENCY_BATCH)] = 1
    accuracy_floor: Annotated[float, Field(gt=0, le=1)] | None = None
    smaller_ratios: Annotated[
        list[Annotated[float, Field(gt=0, le=1)]], Field(max_length=MOST_BUDGETS - 1)
    ] = Field(default_factory=list[float])

    def specification(self) -> StudySpec:
        """Return the study as the library's noun; raises InvalidInput."""
        content = self.model_dump(exclude_none=True)
        if self.space is not None:
            content["space"] = self.space.model_dump(exclude_unset=True)
        given = {} if self.recipe is None else self.recipe.model_dump(exclude_unset=True)
        content["recipe"] = complete_recipe(self.searcher, given)
        return StudySpec.from_json(content)


Tags = Annotated[dict[SHORT_TEXT, SHORT_TEXT], Field(max_length=16)]
Priority = Annotated[int, Field(ge=LEAST_PRIORITY, le=MOST_PRIORITY)]


class NewJobBody(RequestBody):
    """A search to put into the queue.

    priority: waiting jobs of a higher one are taken first; above 0 is for administrators.
    """

    name: Name | None = None
    model_id: Identity
    dataset_id: Identity
    study: StudyBody
    tags: Tags = Field(default_factory=dict[str, str])
    priority: Priority = 0
