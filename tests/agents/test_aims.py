"""Which budget a round of `auto` is for, where the least cost at an accuracy floor is searched."""

from automl_agents.auto.aims import NEAR, PATIENCE, Aim, FallingBudget
from automl_compress.core import Budget, Measurement
from tests.fakes import measurement_of, problem_of

FLOOR = 0.8
SPACE = problem_of().space


def scored(aim: Aim, accuracy: float) -> Measurement:
    return measurement_of(SPACE.costs.cost(SPACE.uniform(aim.budget)), accuracy)


def search(limit: float, rounds: int, ratio: float = 1.0) -> list[Aim]:
    """Reach the floor at budgets of `limit` and above."""
    aims = FallingBudget(SPACE, Budget("macs", ratio), FLOOR)
    asked = [*aims.first]
    for _ in range(rounds):
        reaches = asked[-1].budget.ratio >= limit
        aims.tell(scored(asked[-1], FLOOR if reaches else FLOOR - 0.1))
        asked.append(aims.next())
    return asked


def test_a_floor_that_nothing_reaches_is_looked_for_within_the_whole_budget() -> None:
    asked = search(limit=1.1, rounds=20, ratio=0.7)

    assert {each.budget.ratio for each in asked} == {0.7}


def test_budgets_close_in_on_the_least_that_reaches_the_floor() -> None:
    asked = search(limit=0.31, rounds=40)

    reached = min(each.budget.ratio for each in asked if each.budget.ratio >= 0.31)
    assert 0.31 <= reached < 0.31 * (1 + 2 * NEAR)


def test_a_budget_is_given_up_after_some_rounds_and_tried_again_once_all_are() -> None:
    ratios = [each.budget.ratio for each in search(limit=0.31, rounds=120)]

    failed = [ratio for ratio in ratios if ratio < 0.3]
    assert failed.count(failed[0]) == PATIENCE
    assert min(ratios[-PATIENCE:]) > 0.25  # still near, not back at the bottom


def test_where_everything_reaches_the_floor_it_ends_at_the_cheapest_policy() -> None:
    asked = search(limit=0.0, rounds=60)

    aim = asked[-1]
    assert SPACE.uniform(aim.budget)  # can be reached, however it was rounded
    assert aim.budget.limit(SPACE.full) <= 1.1 * SPACE.costs.cost(SPACE.smallest).macs


def test_notes_name_the_budget_and_the_floor() -> None:
    (first,) = search(limit=0.3, rounds=0)

    assert first.words == " at 100 % of macs, for the floor of 80 %"
