import json
from dataclasses import replace

import pytest

from automl_compress.core import Budget, Confirmation, Cost, Effort, SpaceOptions, StudySpec
from automl_compress.core.budget import counted
from automl_compress.core.errors import InvalidInput, UnknownName

STUDY = StudySpec("auto", Budget("macs", 0.5), Effort(30), smaller_ratios=(0.4, 0.2))
FULL = Cost(macs=1000, parameters=10, size_bytes=40, bit_operations=1000)


def cost_of(macs: int) -> Cost:
    return Cost(macs=macs, parameters=5, size_bytes=20, bit_operations=macs)


def test_specification_survives_json_and_budgets_fall() -> None:
    assert StudySpec.from_json(json.loads(json.dumps(STUDY.to_json()))) == STUDY
    assert STUDY.budgets == (Budget("macs", 0.5), Budget("macs", 0.4), Budget("macs", 0.2))


@pytest.mark.parametrize(
    "ratios",
    [(0.5,), (0.6,), (0.3, 0.4), (0.3, 0.3), (0.0,), tuple(0.4 - i / 100 for i in range(16))],
)
def test_budgets_that_do_not_fall_or_are_too_many_are_refused(ratios: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"ratio|at most 16"):
        StudySpec("auto", Budget("macs", 0.5), Effort(30), smaller_ratios=ratios)


@pytest.mark.parametrize(("macs", "ratio"), [(500, 0.5), (401, 0.5), (400, 0.4), (20, 0.2)])
def test_tightest_budget_is_the_smallest_that_allows_a_cost(macs: int, ratio: float) -> None:
    assert STUDY.tightest_budget(cost_of(macs), FULL) == Budget("macs", ratio)


def test_a_cost_that_no_budget_allows_is_held_against_the_largest() -> None:
    assert STUDY.tightest_budget(cost_of(700), FULL) == Budget("macs", 0.5)


def test_an_accuracy_floor_is_a_fraction_and_goes_with_one_budget() -> None:
    study = StudySpec("amc", Budget("macs", 1.0), Effort(30), accuracy_floor=0.9)

    assert StudySpec.from_json(study.to_json()) == study
    for floor in (0.0, 90.0, float("nan")):
        with pytest.raises(InvalidInput, match="a fraction above 0"):
            replace(study, accuracy_floor=floor)
    with pytest.raises(InvalidInput, match="leave one of them out"):
        replace(study, smaller_ratios=(0.5,))
    elements = SpaceOptions(schemes=("channel", "element"))
    staged = Confirmation(recipe="micronet", distillation_weight=0.5, floor_points=1.0)
    with pytest.raises(InvalidInput, match="another floor; leave one of them out"):
        replace(study, space=elements, confirmation=staged)


def test_scales_are_fixed_or_learned_where_there_are_any_and_all_is_trained_at_once() -> None:
    quantised = SpaceOptions(weight_bits=(2, 4))
    learned = Confirmation(finetune_scales="learned")
    study = StudySpec("auto", Budget("macs", 0.5), Effort(30), quantised, confirmation=learned)

    assert StudySpec.from_json(study.to_json()) == study
    with pytest.raises(InvalidInput, match="'kmeans' gives weights codebooks, which have no scale"):
        replace(study, space=replace(quantised, quantiser="kmeans"))
    with pytest.raises(InvalidInput, match="under the recipe 'micronet', whose stages fit them"):
        Confirmation(recipe="micronet", distillation_weight=0.5, finetune_scales="fixed")
    with pytest.raises(UnknownName, match="choose one of: fitted, fixed, learned"):
        Confirmation.from_json({"finetune_scales": "guessed"})


def test_costs_that_nobody_counted_are_left_out() -> None:
    plain, timed = Cost(4, 3, 12, 4096), Cost(4, 3, 12, 4096, latency_ns=7)

    assert plain.to_json() == {"macs": 4, "parameters": 3, "size_bytes": 12, "bit_operations": 4096}
    assert timed.to_json() == {**plain.to_json(), "latency_ns": 7}
    for cost in (plain, timed):
        assert Cost(**cost.to_json()) == cost
    stored_once = {**plain.to_json(), "micronet": 0, "latency_ns": 0}
    assert Cost(**stored_once) == plain
    assert counted(stored_once) == plain.to_json()
