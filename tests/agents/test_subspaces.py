from dataclasses import replace
from typing import Any

import pytest

from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.searcher import AutoSearcher
from automl_agents.auto.subspaces import SubspaceRace, subspaces
from automl_compress.core import Budget, SearchProblem, Trial
from tests.agents.studies import run_study
from tests.fakes import FormulaEvaluator, plain_graph, problem_of, space_of

BITS = (2, 4, 8)
CHANNELS, WEIGHTS, BOTH = (
    "channels removed",
    "single weights removed",
    "channels and single weights",
)


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
        return {each.allowed for each in part.decisions if each.kind == kind}

    # Six levels: 2, 3, 4, 5, 8, 32; the fourth is 5.
    assert allowed("micronet", 3, "weight_bits") == {(8,)}
    assert allowed("micronet", 3, "activation_bits") == {(5,)}
    assert allowed("micronet", 3, "density") == {(100,)}
    assert len(subspaces(space, "size_bytes")) == 9
    assert allowed("size_bytes", 4, "weight_bits") == {(4,)}
    assert allowed("size_bytes", 4, "width") == {(8,)}
    assert allowed("size_bytes", 4, "activation_bits") == {(3, 5, 8, 32)}


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
    problem = joint_problem()
    graph, config = problem.space.graph, AutoConfig(filter_share=0.0)

    trials = searched(problem, config)

    races = [each for each in trials if each.note.startswith("uniform: ") and each.images]
    best = max(races, key=lambda each: each.score or float("-inf"))
    part = next(each for each in subspaces(problem.space, "size_bytes") if each.words in best.note)
    leading = next(each for each in trials if each.note.startswith("leads on the subset"))
    assert leading.policy == best.policy
    spent, narrow, whole = 0.0, [], []
    for trial in trials:
        if trial.number > leading.number:
            is_narrow = spent < 0.4 * problem.effort.evaluations
            (narrow if is_narrow else whole).append(problem.space.setting(trial.policy))
        spent += trial.measurement.evaluations if trial.measurement else 0.0
    assert graph.groups
    assert len(narrow) > 20
    assert len(whole) > 20
    assert sum(each in part.space for each in narrow) > len(narrow) - 12  # one round was planned
    assert any(each not in part.space for each in whole)


def test_parts_first_find_more_than_the_whole_space_at_once() -> None:
    def best(config: AutoConfig, seed: int) -> float:
        trials = searched(replace(joint_problem(), seed=seed), config)
        return max(each.score for each in trials if each.score is not None and not each.images)

    gains = [best(AutoConfig(), seed) - best(AutoConfig(narrow_share=0.0), seed) for seed in (0, 1)]

    assert sum(gains) > 0.0


def test_a_race_that_costs_more_than_its_share_is_left_for_a_profile() -> None:
    note = AutoSearcher(joint_problem(), AutoConfig()).ask().note
    assert note.endswith("; no sensitivity profile: parts of the space are compared in its place")

    for problem, config in (
        (replace(joint_problem(1.0), images=1000), AutoConfig()),
        (joint_problem(), AutoConfig(narrow_share=0.0)),
        (joint_problem(), AutoConfig(profile_share=0.0)),
    ):
        assert not SubspaceRace(problem, config, Answers(problem.space)).is_run
    assert "parts" not in AutoSearcher(joint_problem(1.0), AutoConfig()).ask().note


@pytest.mark.parametrize("ratio", [0.15, 0.04])
def test_a_smaller_budget_is_led_by_a_part_that_reaches_it(ratio: float) -> None:
    problem = joint_problem()
    answers = Answers(problem.space)
    race = SubspaceRace(problem, AutoConfig(), answers)
    assert race.leader(problem.budget) is None

    for place, plan in enumerate(race.plans()):
        answers.part[plan.setting] = float(place)

    leader = race.leader(Budget("size_bytes", ratio))
    assert leader is not None
    assert leader.space.within(leader.space.smallest, Budget("size_bytes", ratio))
