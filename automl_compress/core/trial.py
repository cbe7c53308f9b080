"""One policy and what was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from automl_compress.core.budget import Cost
from automl_compress.core.policy import Policy
from automl_compress.core.recipe import Recipe

Fidelity = Literal["proxy", "confirmed"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one policy, on which images, how.

    accuracy: top-1 fraction, `correct / total`.
    score: the recipe's signal; higher is better.
    cross_entropy, kl: means over images, in nats; None where they were not measured.
    split: the images that were used, for instance `search: test.parquet rows 0-999`.
    evaluations: effort spent, in full proxy evaluations.
    wall_seconds, cpu_seconds: of this evaluation alone; forward_cpu_seconds is the part that
        the network's own forward passes took.
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
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Measurement":
        """Read what `to_json` wrote."""
        rest = {key: value for key, value in content.items() if key != "accuracy"}
        rest["cost"] = Cost(**rest["cost"])
        rest["recipe"] = Recipe(**rest["recipe"])
        return cls(**rest)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A policy that a searcher asks to have evaluated.

    note says in words why, for the trial log; may be empty.
    """

    number: int  # counts the searcher's asks from 0
    policy: Policy
    note: str = ""


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
