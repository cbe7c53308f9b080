"""What makes one measured policy of a study better than another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automl_compress.core.budget import Metric
from automl_compress.core.errors import InvalidInput
from automl_compress.core.trial import Measurement


def check_accuracy_floor(floor: float | None) -> None:
    """Refuse floors that are not fractions; raises InvalidInput."""
    if floor is not None and not 0.0 < floor <= 1.0:
        raise InvalidInput(
            f"accuracy_floor is {floor!r}; give a fraction above 0, at most 1 (0.9 is 90 %)"
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """What a study looks for, among policies within its budget.

    metric: of the budget.
    accuracy_floor: None for the highest score. Otherwise a fraction: the best policy is the one
        that costs least in the metric among those of at least this accuracy.
    """

    metric: Metric
    accuracy_floor: float | None = None

    @classmethod
    def of_study(cls, study: Mapping[str, Any]) -> "Goal":
        """Return the goal of a study that is JSON."""
        return cls(study["budget"]["metric"], study.get("accuracy_floor"))

    def is_reached(self, measurement: Measurement) -> bool:
        """Say whether a policy of this measurement may be the best one."""
        return self.accuracy_floor is None or measurement.accuracy >= self.accuracy_floor

    def rank(self, measurement: Measurement) -> tuple[bool, float, float]:
        """Return what is larger for a better measurement; those below the floor by accuracy."""
        if self.accuracy_floor is None:
            return True, measurement.score, 0.0
        if not self.is_reached(measurement):
            return False, measurement.accuracy, 0.0
        return True, -float(measurement.cost.of(self.metric)), measurement.score
