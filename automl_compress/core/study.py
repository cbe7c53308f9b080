"""What a search is asked to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

from automl_compress.core.budget import Budget, Cost, Effort
from automl_compress.core.confirmation import Confirmation
from automl_compress.core.errors import InvalidInput
from automl_compress.core.goal import Goal, check_accuracy_floor
from automl_compress.core.recipe import Recipe
from automl_compress.core.space import CompressionSpace
from automl_compress.core.space_options import SpaceOptions

MOST_BUDGETS = 16
MOST_LATENCY_BATCH = 1024


def budgets_of(largest: Budget, smaller_ratios: Sequence[float]) -> tuple[Budget, ...]:
    """Return a budget and smaller ones of the same metric; raises InvalidInput for no ratio."""
    return (largest, *(replace(largest, ratio=ratio) for ratio in smaller_ratios))


@dataclass(frozen=True)
class StudySpec:
    """One search: everything but the network and the data.

    budget: what a compressed network may cost.
    smaller_ratios: further budgets of the same metric, falling; the best policy within each is
        searched for and confirmed, so that one study gives a front to choose from.
    parallelism: evaluations in flight at once, each in its own process.
    searcher_options: the searcher's own knobs, by field name of its configuration.
    target: the engine, or the measured device, whose latency is predicted for every policy; None
        for none. latency_batch: images of one call there.
    accuracy_floor: a fraction; the best policy is then the one that costs least in the budget's
        metric among those of at least this accuracy on the search images, as the recipe repairs
        them, before any tuning. None for the highest score within the budget.
    """

    searcher: str
    budget: Budget
    effort: Effort
    space: SpaceOptions = SpaceOptions()
    recipe: Recipe = Recipe(backend="auto")
    confirmation: Confirmation = Confirmation()
    seed: int = 0
    parallelism: int = 1
    searcher_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    smaller_ratios: tuple[float, ...] = ()
    target: str | None = None
    latency_batch: int = 1
    accuracy_floor: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, and budgets that do not fall or are too many."""
        if self.parallelism < 1:
            raise InvalidInput(f"parallelism is {self.parallelism!r}; give at least 1")
        if not 1 <= self.latency_batch <= MOST_LATENCY_BATCH:
            raise InvalidInput(
                f"latency_batch is {self.latency_batch!r}; give 1 to {MOST_LATENCY_BATCH} images"
            )
        if self.budget.metric == "latency_ns" and self.target is None:
            raise InvalidInput(
                "the budget limits latency_ns, and the study names no target that has it; give "
                "one, as 'cpu-openvino' or 'cpu-onnxruntime'"
            )
        ratios = [budget.ratio for budget in self.budgets]
        if len(ratios) > MOST_BUDGETS:
            raise InvalidInput(f"{len(ratios)} budgets in one study; at most {MOST_BUDGETS}")
        if any(smaller >= larger for larger, smaller in pairwise(ratios)):
            raise InvalidInput(
                f"smaller_ratios are {list(self.smaller_ratios)}; give ratios that fall, each "
                f"below the budget's {self.budget.ratio:g}"
            )
        if self.confirmation.recipe == "micronet" and not self.space.has_layer_decisions:
            raise InvalidInput(
                "the confirmation's recipe is 'micronet', whose stages make single layers sparse "
                "and quantise them, and the space opens neither; give schemes with 'element', "
                "weight_bits and activation_bits, or take the recipe 'at_once'"
            )
        if self.confirmation.finetune_scales != "fitted" and self.space.has_codebooks:
            raise InvalidInput(
                f"finetune_scales is {self.confirmation.finetune_scales!r}, and the quantiser "
                f"{self.space.quantiser!r} gives weights codebooks, which have no scales; leave "
                "finetune_scales out, or take another quantiser"
            )
        self._check_floor()

    def _check_floor(self) -> None:
        check_accuracy_floor(self.accuracy_floor)
        if self.accuracy_floor is not None and self.smaller_ratios:
            raise InvalidInput(
                "accuracy_floor asks for the least cost, smaller_ratios for the best policy within "
                "each; leave one of them out"
            )
        if self.accuracy_floor is not None and self.confirmation.floor_points is not None:
            raise InvalidInput(
                "accuracy_floor is what the search looks for, the confirmation's floor_points "
                "another floor; leave one of them out"
            )

    @property
    def goal(self) -> Goal:
        """What makes one of its trials better than another."""
        return Goal(self.budget.metric, self.accuracy_floor)

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """Every budget, the largest first."""
        return budgets_of(self.budget, self.smaller_ratios)

    def tightest_budget(self, cost: Cost, full: Cost) -> Budget:
        """Return the smallest of the budgets that allows a cost; the largest where none does."""
        allowing = [budget for budget in self.budgets if budget.allows(cost, full)]
        return allowing[-1] if allowing else self.budget

    def to_json(self) -> dict[str, Any]:
        """Return the specification as a JSON object."""
        content = asdict(self)
        content["space"]["fix"] = dict(self.space.fix)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "StudySpec":
        """Read what `to_json` wrote; raises InvalidInput."""
        rest = dict(content)
        try:
            rest["smaller_ratios"] = tuple(rest.get("smaller_ratios", ()))
            return cls(
                budget=Budget(**rest.pop("budget")),
                effort=Effort(**rest.pop("effort")),
                space=SpaceOptions.from_json(rest.pop("space", {})),
                recipe=Recipe.from_json({"backend": "auto"} | dict(rest.pop("recipe", {}))),
                confirmation=Confirmation.from_json(rest.pop("confirmation", {})),
                **rest,
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise InvalidInput(f"the study specification cannot be read: {error}") from error


@dataclass(frozen=True)
class SearchProblem:
    """What a searcher is built from: where it searches, under which limits, with which seed.

    budget: the largest that a policy may have; smaller_ratios: further ones, as in `StudySpec`.
    importance: returns a score of each channel of each group under the space's criterion,
        higher is more important; None where the caller has no network.
    images: how many images a full evaluation scores; repair_images: how many each evaluation,
        full or not, forwards besides them.
    accuracy_floor: where the least cost is searched for, as in `StudySpec`.
    recipe: how candidates are scored, which some searchers' methods say; None where the caller
        makes sure of that.
    """

    space: CompressionSpace
    budget: Budget
    effort: Effort
    seed: int
    importance: Callable[[], Sequence[Sequence[float]]] | None = None
    images: int = 1000
    repair_images: int = 0
    smaller_ratios: tuple[float, ...] = ()
    accuracy_floor: float | None = None
    recipe: Recipe | None = None

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """Every budget, the largest first."""
        return budgets_of(self.budget, self.smaller_ratios)

    def by_budget(self) -> tuple["SearchProblem", ...]:
        """Return a problem for each budget alone, with an even share of the effort."""
        share = replace(self.effort, evaluations=self.effort.evaluations / len(self.budgets))
        return tuple(
            replace(self, budget=budget, smaller_ratios=(), effort=share) for budget in self.budgets
        )

    def evaluations(self, images: int | None = None) -> float:
        """Return what scoring on the first `images` costs, in full proxy evaluations."""
        scored = self.images if images is None else min(images, self.images)
        return (scored + self.repair_images) / self.images
