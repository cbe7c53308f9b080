"""What an agent is paid at the end of an episode; every transition of it gets the same."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from automl_compress.core import Cost, Measurement, Metric
from automl_compress.core.errors import InvalidInput
from automl_compress.core.goal import check_accuracy_floor

Reward = Callable[[Measurement, Cost], float]
"""From a policy's measurement and the uncut network's cost; higher is better."""
RewardName = Literal["score", "error_times_log_cost", "least_cost"]


def create_reward(
    name: RewardName, metric: Metric = "macs", accuracy_floor: float | None = None
) -> Reward:
    """Return the reward of a name.

    Args:
        name: `score` is `score_under_budget`, `error_times_log_cost` is `ErrorTimesLogCost`,
            `least_cost` is `LeastCostAtAccuracy`.
        metric: the cost that counts.
        accuracy_floor: of `least_cost`, a fraction.

    Raises:
        InvalidInput: `least_cost` without a floor, or one that is no fraction.
    """
    if name == "score":
        return score_under_budget
    if name == "error_times_log_cost":
        return ErrorTimesLogCost(metric)
    if accuracy_floor is None:
        raise InvalidInput(
            "reward 'least_cost' pays for cost that is saved at an accuracy floor, and there is "
            "none; give accuracy_floor, or choose another reward"
        )
    return LeastCostAtAccuracy(accuracy_floor, metric)


def score_under_budget(measurement: Measurement, full: Cost) -> float:
    """Pay the recipe's score: the accuracy, unless the recipe names another signal.

    The budget is kept by the walk, so the cost does not enter.

    Source: AMC, `acc_reward` = 0.01 * accuracy in percent (lib of mit-han-lab/amc); R_err of
    the paper differs by a constant.
    """
    return measurement.score


@dataclass(frozen=True, slots=True)
class ErrorTimesLogCost:
    """Pay -(1 - accuracy) * ln(cost): accuracy first, a lower cost where it stays the same.

    Meant for walks that nothing brings to their budget; natural logarithm of the raw cost.

    Source: AMC, `acc_flops_reward`; in the paper, of MACs, R_FLOPs = -Error * log(FLOPs), of
    parameters R_Param = -Error * log(#Param).
    """

    metric: Metric = "macs"

    def __call__(self, measurement: Measurement, full: Cost) -> float:
        """Return the reward."""
        return -(1.0 - measurement.accuracy) * math.log(max(measurement.cost.of(self.metric), 1))


def published_haq_reward(measurement: Measurement, full: Cost) -> float:
    """Pay ten times the accuracy.

    The published one is a tenth of the percent that the accuracy lies above the uncut network's;
    what is constant in it leaves an agent that learns from rewards less their average as it is.

    Source: Wang et al., HAQ (CVPR 2019), section 3.4, with the factor of mit-han-lab/haq.
    """
    return 10.0 * measurement.accuracy


@dataclass(frozen=True, slots=True)
class LeastCostAtAccuracy:
    """The accuracy-guaranteed protocol: the least cost whose accuracy reaches a floor.

    At or above the floor it pays the share of the cost that was removed, in [0, 1]; below it
    the missing accuracy, in [-1, 0). So every policy that reaches the floor pays more than any
    that does not.

    Source: the protocol of AMC's paper; the two-part form is ours, since -error * ln(MACs)
    guarantees no accuracy.
    """

    accuracy_floor: float
    metric: Metric = "macs"

    def __post_init__(self) -> None:
        """Refuse floors that are not fractions."""
        check_accuracy_floor(self.accuracy_floor)

    def __call__(self, measurement: Measurement, full: Cost) -> float:
        """Return the reward."""
        missing = self.accuracy_floor - measurement.accuracy
        if missing > 0:
            return -missing
        return 1.0 - measurement.cost.of(self.metric) / full.of(self.metric)
