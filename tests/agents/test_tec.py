from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from automl_agents.catalogue import check_serves, create_searcher
from automl_agents.evolution.tec import TecSearcher
from automl_agents.evolution.tec_config import TecConfig
from automl_agents.filter_masks import FilterMasks
from automl_compress.core import Effort, Policy, SearchProblem
from automl_compress.core.errors import InvalidInput
from tests.agents.filter_worth import FilterEvaluator
from tests.fakes import plain_graph, problem_of


def with_importance(problem: SearchProblem, importance: Sequence[Sequence[float]]) -> SearchProblem:
    return replace(problem, importance=lambda: importance)


def masks_of(problem: SearchProblem, ranking_share: float = 0.5) -> FilterMasks:
    importance = None if problem.importance is None else problem.importance()
    return FilterMasks(problem.space, problem.budget, importance, ranking_share)


def descending(problem: SearchProblem) -> list[list[float]]:
    """The first channel of each group is its most important one."""
    return [[float(-index) for index in range(width)] for width in problem.space.largest]


def test_policies_name_the_kept_filters_and_agree_with_their_sparsity() -> None:
    problem = problem_of(skip=("stem",), fix=(("stage1", 0.25),), round_to=4)
    space = problem.space
    searcher = TecSearcher(problem, TecConfig())

    for _ in range(14):
        suggestion = searcher.ask()
        widths = suggestion.policy.widths(space.graph)
        for choice, width, allowed in zip(
            suggestion.policy.choices, widths, space.allowed, strict=True
        ):
            assert (choice.kept is None) == (len(allowed) == 1)
            if choice.kept is not None:
                assert choice.criterion == "search"
                assert len(choice.kept) == width
                assert list(choice.kept) == sorted(set(choice.kept))
        assert Policy.from_json(suggestion.policy.to_json()) == suggestion.policy
        searcher.tell(suggestion.complete(FilterEvaluator(problem).evaluate(suggestion.policy)))


def test_first_comes_the_uniform_policy_with_the_best_ranked_filters() -> None:
    problem = problem_of()
    ranked = with_importance(problem, descending(problem))

    first = TecSearcher(ranked, TecConfig()).ask()

    uniform = problem.space.uniform(problem.budget)
    assert [each.kept for each in first.policy.choices] == [tuple(range(w)) for w in uniform]


def test_repair_clears_the_lowest_ranked_bits_and_sets_the_highest() -> None:
    problem = problem_of(plain_graph((16, 16)), ratio=0.4)
    ranked = with_importance(problem, descending(problem))
    masks = masks_of(ranked, ranking_share=1.0)
    rng = np.random.default_rng(0)
    too_many, too_few = np.ones(32, dtype=bool), np.zeros(32, dtype=bool)
    too_few[[15, 31]] = True

    shrunk, grown = (masks.repaired(mask, rng) for mask in (too_many, too_few))

    first, second = problem.space.uniform(problem.budget)
    expected = np.concatenate([np.arange(16) < first, np.arange(16) < second])
    assert np.array_equal(shrunk, expected)
    assert grown[[15, 31]].all()  # bits that were set stay
    assert np.array_equal(grown[:14], np.arange(14) < grown[:16].sum() - 1)


def test_a_mask_at_the_budget_stays_as_it_is() -> None:
    problem = problem_of()
    masks, rng = masks_of(problem), np.random.default_rng(0)

    for _ in range(20):
        mask = masks.random(rng)
        assert np.array_equal(masks.repaired(mask, rng), mask)


def test_without_a_ranking_chance_chooses() -> None:
    problem = replace(problem_of(plain_graph((64,))), importance=None)
    masks = masks_of(problem, ranking_share=1.0)

    drawn = {masks.random(np.random.default_rng(seed)).tobytes() for seed in range(5)}

    assert len(drawn) == 5


def test_elitism_never_loses_the_best() -> None:
    problem = problem_of(evaluations=60)
    evaluator, searcher = FilterEvaluator(problem), TecSearcher(problem, TecConfig())

    best = 0.0
    for _ in range(60):
        suggestion = searcher.ask()
        measurement = evaluator.evaluate(suggestion.policy)
        searcher.tell(suggestion.complete(measurement))
        best = max(best, measurement.score)
        assert searcher.scores[0] == best
        assert searcher.scores == sorted(searcher.scores, reverse=True)
        assert len(searcher.scores) <= 4


def test_it_removes_dead_filters() -> None:
    problem = problem_of(plain_graph((24, 24, 24)), ratio=0.4, evaluations=300)
    problem = replace(problem, importance=None)
    evaluator, searcher = FilterEvaluator(problem), TecSearcher(problem, TecConfig())

    told: list[tuple[float, Policy]] = []
    for _ in range(300):
        suggestion = searcher.ask()
        measurement = evaluator.evaluate(suggestion.policy)
        searcher.tell(suggestion.complete(measurement))
        told.append((measurement.score, suggestion.policy))

    drawn = told[:15]
    best = max(told, key=lambda each: each[0])
    assert best[0] > max(score for score, _ in drawn) + 0.05
    shares = [evaluator.dead_share(policy) for _, policy in drawn]
    assert evaluator.dead_share(best[1]) < np.mean(shares) - 0.05


@pytest.mark.parametrize(
    ("options", "evaluations", "says"),
    [
        ({"max_filters": 100}, 40, "filters can be cut, and its option max_filters is 100"),
        ({"population": 30}, 40, "40 evaluations, too few .* population of 30; give 60 at least"),
        ({"max_filters_for_each_evaluation": 2}, 40, "40 evaluations, too few"),
    ],
)
def test_what_a_mask_search_cannot_serve_is_refused(
    options: dict[str, int], evaluations: float, says: str
) -> None:
    problem = problem_of(evaluations=evaluations)

    for attempt in (check_serves, create_searcher):
        with pytest.raises(InvalidInput, match=says) as refused:
            attempt("tec", problem, options)
        assert "choose one that can: " in str(refused.value)
        assert "random" in str(refused.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"crossover_rate": 1.5}, "from 0 to 1"),
        ({"ranking_share": -0.1}, "from 0 to 1"),
        ({"population": 1}, "at least 2"),
        ({"max_filters": 0}, "at least 1"),
    ],
)
def test_options_outside_their_ranges_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        TecConfig(**options)  # type: ignore[arg-type]


def test_the_population_follows_the_effort() -> None:
    assert [TecConfig().size(Effort(each)) for each in (8, 200, 1000)] == [4, 10, 32]
