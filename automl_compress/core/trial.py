"""One policy and what was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from automl_compress.core.budget import Cost
from automl_compress.core.errors import InvalidInput
from automl_compress.core.policy import Policy
from automl_compress.core.recipe import Recipe

#: subset: on fewer images than the recipe's. proxy: on all of them. confirmed: tuned, test split.
Fidelity = Literal["subset", "proxy", "confirmed"]
#: candidate: within the budget, may win. probe: asked to learn from, whatever it costs; cannot win.
Role = Literal["candidate", "probe"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one policy, on which images, how.

    accuracy: top-1 fraction, `correct / total`.
    score: the recipe's signal; higher is better.
    cross_entropy, kl: means over images, in nats; None where they were not measured.
    split: the recipe's images, for instance `search: test.parquet rows 0-999`; a subset is the
        first `total` of them.
    evaluations: effort spent, in full proxy evaluations.
    wall_seconds, cpu_seconds: of this evaluation alone; forward_cpu_seconds is the part that
        the network's own forward passes took.
    hits: whether each image was predicted right, in their order: bits packed into bytes, most
        significant first, in base64; empty where they were not kept.
    """

    cost: Cost
    score: float
    correct: int
    total: int
    cross_entropy: float | None
    kl: float | None
    split: str
    fidelity: Fidelity
    recipe: Recipe
    seed: int
    evaluations: float
    wall_seconds: float
    cpu_seconds: float
    forward_cpu_seconds: float = 0.0
    hits: str = ""

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy as a fraction."""
        return self.correct / self.total

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as a JSON object."""
        return {
            "cost": self.cost.to_json(),
            "score": self.score,
            "accuracy": self.accuracy,
            "correct": self.correct,
            "total": self.total,
            "cross_entropy": self.cross_entropy,
            "kl": self.kl,
            "split": self.split,
            "fidelity": self.fidelity,
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "evaluations": self.evaluations,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
            "forward_cpu_seconds": self.forward_cpu_seconds,
            "hits": self.hits,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Measurement":
        """Read what `to_json` wrote."""
        rest = {key: value for key, value in content.items() if key != "accuracy"}
        rest["cost"] = Cost(**rest["cost"])
        rest["recipe"] = Recipe.from_json(rest["recipe"])
        return cls(**rest)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A policy that a searcher asks to have evaluated.

    note says in words why, for the trial log; may be empty. images: only the first so many of
    the recipe's images score it, at their share of an evaluation; None for all of them.
    """

    number: int  # counts the searcher's asks from 0
    policy: Policy
    note: str = ""
    role: Role = "candidate"
    images: int | None = None

    def __post_init__(self) -> None:
        """Refuse to measure on no image."""
        if self.images is not None and self.images < 1:
            raise InvalidInput(f"trial {self.number} asks for {self.images} images; at least 1")

    def to_json(self) -> dict[str, Any]:
        """Return the suggestion as a JSON object."""
        return {
            "number": self.number,
            "policy": self.policy.to_json(),
            "note": self.note,
            "role": self.role,
            "images": self.images,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Suggestion":
        """Read what `to_json` wrote."""
        rest = {**content}
        policy = Policy.from_json(rest.pop("policy"))
        return cls(policy=policy, **rest)

    def running(self) -> "Trial":
        """Return the trial that is not told yet."""
        return self._trial(TrialState.RUNNING, None, None)

    def complete(self, measurement: Measurement) -> "Trial":
        """Return the trial with this measurement."""
        return self._trial(TrialState.COMPLETE, measurement, None)

    def failed(self, reason: str) -> "Trial":
        """Return the trial that could not be measured."""
        return self._trial(TrialState.FAILED, None, reason)

    def _trial(
        self, state: "TrialState", measurement: Measurement | None, failure: str | None
    ) -> "Trial":
        return Trial(
            self.number,
            self.policy,
            state,
            measurement,
            failure,
            self.note,
            self.role,
            self.images,
        )


class TrialState(StrEnum):
    """What became of a suggestion."""

    RUNNING = "running"  #: asked for, not yet told
    COMPLETE = "complete"  #: measured
    FAILED = "failed"  #: could not be measured; `failure` says why


@dataclass(frozen=True, slots=True)
class Trial:
    """A suggestion and its outcome. A complete trial has a measurement, a failed one a reason."""

    number: int
    policy: Policy
    state: TrialState
    measurement: Measurement | None = None
    failure: str | None = None
    note: str = ""
    role: Role = "candidate"
    images: int | None = None

    @property
    def suggestion(self) -> Suggestion:
        """What was asked."""
        return Suggestion(self.number, self.policy, self.note, self.role, self.images)

    @property
    def score(self) -> float | None:
        """The score by which trials compete; None for probes, subsets and what has failed."""
        measured = self.measurement
        if measured is None or self.role == "probe" or measured.fidelity == "subset":
            return None
        return measured.score
