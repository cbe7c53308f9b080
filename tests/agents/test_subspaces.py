from dataclasses import replace
from typing import Any

import pytest

from automl_agents.auto.aims import create_aims
from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.searcher import AutoSearcher
from automl_agents.auto.subspaces import SubspaceRace, subspaces
from automl_agents.decisions import open_decisions
from automl_compress.core import Budget, SearchProblem, Trial
from tests.agents.studies import run_study
from tests.fakes import FormulaEvaluator, plain_graph, problem_of, space_of

BITS = (2, 4, 8)
CHANNELS = "channels removed"


def words(metric: Any = "size_bytes", **options: Any) -> list[str]:
    return [part.words for part in subspaces(space_of(plain_graph((8, 8)), **options), metric)]


def test_there_is_a_part_for_each_bit_width_and_each_choice_of_what_is_removed() -> None:
    both = ("channel", "element")

    assert words() == words(schemes=("element",)) == words(weight_bits=(4,)) == []
    assert [each.split(" removed")[0] for each in words(schemes=both)] == [
        "channels",
        "single weights",
        "channels and single weights",
    ]
    assert words(weight_bits=BITS) == [f"{CHANNELS}, {bits} bits everywhere" for bits in BITS]
    assert words(weight_bits=BITS, schemes=()) == [
        f"nothing removed, {bits} bits everywhere" for bits in BITS
    ]
    assert len(words(weight_bits=BITS, schemes=both)) == 9


def test_a_part_holds_one_bit_width_and_leaves_what_the_budget_does_not_count() -> None:
    options: dict[str, Any] = {
        "schemes": ("channel", "element"),
        "weight_bits": (2, 4, 8),
        "activation_bits": (3, 5, 8, 32),
        "edge_bits": None,
    }
    space = space_of(plain_graph((8, 8)), **options)

    def allowed(metric: Any, place: int, kind: str) -> set[tuple[int, ...]]:
        part = subspaces(space, metric)[place].space
        counted = [part.decisions[each] for each in open_decisions(space, metric)]
        return {each.allowed for each in counted if each.kind == kind}

    # Six levels: 2, 3, 4, 5, 8, 32; the fourth is 5.
    assert allowed("micronet", 3, "weight_bits") == {(8,)}
    assert allowed("micronet", 3, "activation_bits") == {(5,)}
    assert allowed("micronet", 3, "density") == {(100,)}
    assert len(subspaces(space, "size_bytes")) == 9
    assert allowed("size_bytes", 4, "weight_bits") == {(4,)}
    assert allowed("size_bytes", 4, "width") == {(8,)}
    assert allowed("size_bytes", 4, "activation_bits") == set()


def joint_problem(evaluations: float = 60.0, **options: Any) -> SearchProblem:
    return problem_of(
        plain_graph((8, 12, 8)),
        ratio=0.15,
        evaluations=evaluations,
        metric="size_bytes",
        weight_bits=BITS,
        schemes=("channel", "element"),
        **options,
    )


def searched(problem: SearchProblem, config: AutoConfig) -> list[Trial]:
    return run_study(AutoSearcher(problem, config), FormulaEvaluator(problem.space), problem)[1]


def test_rounds_stay_in_the_part_that_leads_and_then_open_the_whole_space() -> None:
    problem = joint_problem(40.0)
    config = AutoConfig(narrow_share=0.5, filter_share=0.0, subset_images=0)

    trials = searched(problem, config)

    races = {each.note: each for each in trials if each.images is not None}
    assert len(races) == 9
    best = min(races.values(), key=divergence)
    parts = subspaces(problem.space, "size_bytes")
    part = next(each.space for each in parts if f" {each.words}," in best.note)
    leading = next(each for each in trials if each.note.startswith("leads on the subset"))
    assert leading.policy == best.policy
    behind = [problem.space.setting(each.policy) for each in trials[leading.number + 1 :]]
    assert all(setting in part for setting in behind[:16])
    assert sum(setting not in part for setting in behind[20:]) > 5


def divergence(trial: Trial) -> float:
    assert trial.measurement is not None
    assert trial.measurement.kl is not None
    return trial.measurement.kl


def test_a_race_that_costs_more_than_its_share_is_left_for_a_profile() -> None:
    note = AutoSearcher(joint_problem(), AutoConfig()).ask().note
    assert note.endswith("; no sensitivity profile: parts of the space are compared in its place")

    dear = replace(joint_problem(10.0), images=256)  # 9 parts on 64 images are 2.25 evaluations
    for problem, config in (
        (dear, AutoConfig()),
        (joint_problem(), AutoConfig(narrow_share=0.0)),
        (joint_problem(), AutoConfig(profile_share=0.0)),
    ):
        assert not SubspaceRace(problem, config, Answers(problem.space)).is_run
    assert "parts" not in AutoSearcher(dear, AutoConfig()).ask().note


@pytest.mark.parametrize("ratio", [0.15, 0.08])
def test_a_smaller_budget_is_led_by_a_part_that_reaches_it(ratio: float) -> None:
    problem = joint_problem()
    answers = Answers(problem.space)
    race = SubspaceRace(problem, AutoConfig(), answers)
    assert race.leader(problem.budget) is None

    for place, plan in enumerate(race.plans(create_aims(problem).first)):
        answers.part[plan.setting] = float(place)

    first = race.leader(problem.budget)
    answers.whole |= dict.fromkeys(answers.part, -1.0)  # what all images say is not compared
    assert race.leader(problem.budget) == first

    leader = race.leader(Budget("size_bytes", ratio))
    assert leader is not None
    assert leader.space.within(leader.space.smallest, Budget("size_bytes", ratio))
