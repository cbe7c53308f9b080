"""Searchers that allocate: their contract in all of its phases, and what they do."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from automl_agents.allocation.config import GreedyConfig
from automl_agents.allocation.greedy import plan_greedy
from automl_agents.allocation.sensitivity import threshold_setting
from automl_agents.catalogue import create_searcher
from automl_agents.random_search import RandomSearcher
from automl_compress.core import Budget, Policy, Searcher, SearchProblem, Suggestion, Trial
from automl_compress.core.errors import InvalidInput
from tests.agents.studies import run_study
from tests.contracts.searcher import Create, SearcherContract, complete
from tests.fakes import (
    FormulaEvaluator,
    importance_of,
    measurement_of,
    plain_graph,
    problem_of,
    space_of,
)

NAMES = ("sensitivity", "micronet", "dp", "greedy", "global")
#: So short that the contract's few trials go through every phase.
SHORT: Mapping[str, Mapping[str, object]] = {
    "sensitivity": {"levels": 1},
    "micronet": {"levels": 1},
    "dp": {"levels": 1, "random_share": 0.05},
    "greedy": {"iterations": 1},
    "global": {},
}


class TestInEveryPhase(SearcherContract):
    trials = 26

    @pytest.fixture(params=NAMES)
    def create(self, request: pytest.FixtureRequest) -> Create:
        def create(problem: SearchProblem) -> Searcher:
            return create_searcher(request.param, problem, SHORT[request.param])

        return create

    @pytest.mark.parametrize("before", [10, 11, 14, 18, 22])
    def test_restored_in_a_later_phase(
        self, create: Create, problem: SearchProblem, before: int
    ) -> None:
        self.test_restored_it_asks_what_it_would_have_asked(create, problem, before)
        self.test_snapshot_between_an_ask_and_its_tell(create, problem, before)


def search(name: str, problem: SearchProblem, **options: object) -> list[Trial]:
    searcher = create_searcher(name, problem, options)
    return run_study(searcher, FormulaEvaluator(problem.space), problem)[1]


def best_score(trials: list[Trial]) -> float:
    return max(trial.score for trial in trials if trial.score is not None)


def evaluations(trials: list[Trial]) -> float:
    return sum(trial.measurement.evaluations for trial in trials if trial.measurement)


def candidates(trials: list[Trial]) -> list[Policy]:
    return list(dict.fromkeys(trial.policy for trial in trials if trial.role == "candidate"))


@pytest.mark.parametrize("name", NAMES)
def test_first_of_all_there_is_a_result(name: str) -> None:
    problem = problem_of(evaluations=1)

    trials = search(name, problem)

    assert trials[0].score is not None


@pytest.mark.parametrize("name", ["sensitivity", "dp", "greedy"])
def test_it_measures_before_it_decides_and_so_beats_uniform(name: str) -> None:
    problem = problem_of(evaluations=60)

    trials = search(name, problem)

    assert evaluations(trials) <= 61
    assert best_score(trials) > trials[0].score + 0.015  # type: ignore[operator]


@pytest.mark.parametrize("refine", [True, False])
def test_dp_is_ahead_of_random_search_where_losses_add_up(refine: bool) -> None:
    problem = problem_of(evaluations=100)

    _, drawn = run_study(RandomSearcher(problem), FormulaEvaluator(problem.space), problem)

    assert best_score(search("dp", problem, refine=refine)) > best_score(drawn)


def test_dp_finds_the_best_policy_of_a_formula() -> None:
    problem = problem_of(plain_graph((12, 16, 10)), evaluations=200)
    evaluator, space = FormulaEvaluator(problem.space), problem.space
    scores = [
        evaluator.evaluate(space.policy((a, b, c))).score
        for a in space.allowed[0]
        for b in space.allowed[1]
        for c in space.allowed[2]
        if space.within((a, b, c), problem.budget)
    ]

    found = best_score(search("dp", problem, profile_images=10_000, refine=False))

    assert found >= max(scores) - 0.003


def test_pure_dp_repeats_its_best_and_refining_goes_on() -> None:
    problem = problem_of(evaluations=60)

    pure = search("dp", problem, refine=False)
    refined = search("dp", problem, refine=True, random_share=0.2)

    assert len(candidates(pure)) <= 7
    assert pure[-1].note.startswith("nothing new: the best one again")
    assert "measured in trial" in pure[-1].note
    assert len(candidates(refined)) > 20
    assert best_score(refined) >= best_score(pure)
    assert any("random coefficients" in trial.note for trial in refined)
    assert any("1 drawn again" in trial.note for trial in refined)


def test_profile_costs_no_more_than_its_share() -> None:
    problem = replace(problem_of(evaluations=40), images=1000)  # 256 images: a quarter evaluation

    searcher = create_searcher("dp", problem, {})
    asked: list[Suggestion] = []
    while not asked or asked[-1].role == "probe" or len(asked) == 1:
        asked.append(searcher.ask())
        searcher.tell(complete(problem, asked[-1]))

    probes = [each for each in asked if each.role == "probe"]
    cost = sum(problem.evaluations(each.images) for each in probes)
    assert 40 / 6 < cost <= 40 / 3
    assert len(probes) == 1 + 9 * 4


def test_sensitivity_uses_the_smallest_threshold_that_meets_the_budget() -> None:
    space, budget = space_of(plain_graph((10, 10))), Budget("macs", 0.6)
    steep, flat = np.arange(8, -1, -1) * 4.0, np.arange(8, -1, -1) * 1.0

    widths = threshold_setting(space, budget, [steep, flat])

    # In units of 576 MACs: 3 w + w v of at most 78. A threshold of 5 gives 27 + 45; of 4, which
    # leaves the second group 6 channels, 27 + 54. Neither (10, 5) nor (9, 6) fits.
    assert widths == (9, 5)


def test_greedy_walks_down_and_its_last_step_is_within_the_budget() -> None:
    problem = problem_of(evaluations=60)
    space = problem.space

    trials = search("greedy", problem, iterations=10)

    probes = [trial for trial in trials if trial.role == "probe"]
    costs: dict[str, list[int]] = {}
    for probe in probes:
        cost = space.costs.cost(probe.policy.widths(space.graph))
        costs.setdefault(probe.note.partition(":")[0], []).append(cost.macs)
    highest = [max(each) for each in costs.values()]  # of the proposals of an iteration
    assert 2 <= len(highest) <= 10
    assert sorted(highest, reverse=True) == highest
    assert highest[-1] <= problem.budget.limit(space.full) < highest[0]
    assert len(candidates(trials)) > 1
    for policy in candidates(trials):
        widths = policy.widths(space.graph)
        for group, allowed in enumerate(space.allowed):
            grown = list(widths)
            grown[group] = next((each for each in allowed if each > widths[group]), widths[group])
            assert grown[group] == widths[group] or not space.within(grown, problem.budget)


def test_greedy_takes_the_proposal_that_scored_best() -> None:
    problem = problem_of(plain_graph((16, 16, 16)), evaluations=30)
    searcher = create_searcher("greedy", problem, {"iterations": 5})
    searcher.tell(complete(problem, searcher.ask()))  # the uniform policy
    cost = problem.space.full

    for accuracy in (0.6, 0.8, 0.7):
        suggestion = searcher.ask()
        searcher.tell(suggestion.complete(measurement_of(cost, accuracy)))
    widths = searcher.ask().policy.widths(problem.space.graph)

    assert widths[1] < 16  # the second proposal was taken
    assert sum(width < 16 for width in widths) <= 2


@pytest.mark.parametrize(("evaluations", "iterations"), [(200, 40), (40, 40), (5, 6), (1, 1)])
def test_greedy_sizes_its_steps_to_the_effort(evaluations: float, iterations: int) -> None:
    problem = replace(problem_of(evaluations=evaluations), images=1000)

    plan = plan_greedy(problem, GreedyConfig())

    assert plan.iterations == iterations
    assert 32 <= plan.images <= 1000
    if evaluations > 1:
        assert plan.iterations * 9 * problem.evaluations(plan.images) <= 0.9 * evaluations - 1


def test_global_cuts_where_importance_is_low() -> None:
    problem = replace(
        problem_of(plain_graph((10, 10, 10))),
        importance=lambda: [[1.0] * 10, [100.0] * 5 + [1.0] * 5, [100.0] * 10],
    )

    widths = {
        each.note.removeprefix("one threshold on importance "): each.policy.widths(
            problem.space.graph
        )
        for each in _asks(problem, 8)
    }

    # Divided by the mean the second group's weak half (0.02) goes first, then whole groups.
    assert widths["(mean)"][1] == 5
    # As they are, the channels of 1 go before any of 100.
    assert (5, 10) in [each[1:] for each in widths.values()]


def test_global_asks_a_handful_of_policies_then_the_best_again() -> None:
    problem = problem_of(evaluations=20)

    trials = search("global", problem)

    assert 3 <= len(candidates(trials)) <= 8
    assert len(trials) == 20
    assert trials[-1].policy == max(trials, key=lambda each: each.score or 0.0).policy


def test_global_floor_is_kept() -> None:
    problem = replace(
        problem_of(plain_graph((20, 20, 20)), max_sparsity=0.95),
        importance=lambda: [[1e-9] * 20, [1.0] * 20, [1.0] * 20],
    )

    for suggestion in _asks(problem, 8, floor=0.25):
        assert min(suggestion.policy.widths(problem.space.graph)) >= 5


def test_global_without_importance_says_what_is_needed() -> None:
    problem = replace(problem_of(), importance=None)

    with pytest.raises(InvalidInput, match="importance"):
        create_searcher("global", problem, {})


def test_importance_of_the_fakes_has_a_score_for_each_channel() -> None:
    problem = problem_of()

    scores = importance_of(problem.space.graph)

    assert tuple(map(len, scores)) == problem.space.graph.full_widths


def _asks(problem: SearchProblem, count: int, **options: object) -> list[Suggestion]:
    searcher = create_searcher("global", problem, options)
    return [searcher.ask() for _ in range(count)]


def test_micronet_asks_first_for_the_winners_ratios_and_bits() -> None:
    problem = problem_of(
        plain_graph((8, 8, 8)),
        ratio=1.0,
        metric="micronet",
        schemes=("element",),
        weight_bits=(2, 4, 6, 8, 32),
        activation_bits=(4, 8, 32),
        edge_bits=None,
    )

    asked = create_searcher("micronet", problem, {}).ask()

    layers = asked.policy.layers
    assert asked.role == "candidate"
    assert [each.sparsity for each in layers] == [0.75] * (len(layers) - 1) + [0.5]
    assert [each.weight_bits for each in layers] == [4] * (len(layers) - 1) + [6]
    # The first and the last layer compute with float inputs.
    inner = [4] * (len(layers) - 2)
    assert [each.activation_bits for each in layers] == [32, *inner, 32]
    assert asked.policy.widths(problem.space.graph) == problem.space.graph.full_widths


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"sparsity": 1.0}, "from 0 to below 1"),
        ({"last_sparsity": -0.5}, "from 0 to below 1"),
        ({"weight_bits": 9}, "choose one of"),
        ({"last_weight_bits": 0}, "choose one of"),
    ],
)
def test_ratios_and_bits_that_no_layer_can_have_are_refused(
    options: Mapping[str, object], advice: str
) -> None:
    with pytest.raises(InvalidInput, match=advice):
        create_searcher("micronet", problem_of(), options)
