import math

import pytest

from automl_compress.core import Cost, Metric
from automl_compress.core.errors import InvalidInput
from automl_envs.rewards import ErrorTimesLogCost, LeastCostAtAccuracy, score_under_budget
from tests.fakes import measurement_of

FULL = Cost(1000, 500, 2000, 1)


def test_reward_under_a_budget_is_the_score() -> None:
    assert score_under_budget(measurement_of(Cost(400, 1, 1, 1), 0.8), FULL) == 0.8


@pytest.mark.parametrize(("metric", "cost"), [("macs", 400), ("parameters", 100)])
def test_error_times_log_cost_by_hand(metric: Metric, cost: int) -> None:
    reward = ErrorTimesLogCost(metric)(measurement_of(Cost(400, 100, 1, 1), 0.75), FULL)

    assert reward == pytest.approx(-0.25 * math.log(cost))


def test_error_times_log_cost_prefers_fewer_macs_at_equal_accuracy() -> None:
    few, many = (measurement_of(Cost(macs, 1, 1, 1), 0.75) for macs in (300, 400))

    assert ErrorTimesLogCost()(few, FULL) > ErrorTimesLogCost()(many, FULL)


def test_at_the_accuracy_floor_the_removed_share_is_paid() -> None:
    reward = LeastCostAtAccuracy(0.8)

    assert reward(measurement_of(Cost(400, 1, 1, 1), 0.8), FULL) == pytest.approx(0.6)
    assert LeastCostAtAccuracy(0.8, "parameters")(
        measurement_of(Cost(400, 100, 1, 1), 0.9), FULL
    ) == pytest.approx(0.8)


def test_below_the_floor_every_policy_is_paid_less_than_any_above() -> None:
    reward = LeastCostAtAccuracy(0.8)

    below = reward(measurement_of(Cost(1, 1, 1, 1), 0.79), FULL)

    assert below == pytest.approx(-0.01)
    assert below < reward(measurement_of(FULL, 0.8), FULL)


@pytest.mark.parametrize("floor", [0.0, 1.1, 80])
def test_floor_that_is_no_fraction_is_refused(floor: float) -> None:
    with pytest.raises(InvalidInput, match="fraction"):
        LeastCostAtAccuracy(floor)
