from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_agents.auto.config import AutoConfig
from automl_agents.auto.exchange import Exchanges
from automl_agents.auto.searcher import AutoSearcher
from automl_agents.auto.surrogate import Surrogate
from automl_agents.catalogue import create_searcher
from automl_compress.core import SearchProblem, Trial
from automl_compress.core.errors import InvalidInput, WrongState
from automl_compress.search import StudySummary
from tests.agents.studies import run_study
from tests.fakes import FormulaEvaluator, plain_graph, problem_of


def study(name: str, problem: SearchProblem) -> tuple[StudySummary, list[Trial]]:
    searcher = create_searcher(name, problem, {})
    return run_study(searcher, FormulaEvaluator(problem.space, seed=1), problem)


def score(summary: StudySummary) -> float:
    assert summary.best is not None
    assert summary.best.score is not None
    return summary.best.score


@pytest.mark.parametrize("metric", ["macs", "parameters", "size_bytes"])
def test_auto_beats_random_at_equal_evaluations_under_every_budget(metric: str) -> None:
    problem = problem_of(evaluations=8, ratio=0.5, metric=metric)

    found, _ = study("auto", problem)
    drawn, _ = study("random", problem)

    assert found.evaluations < 9.1
    assert score(found) > score(drawn) + 0.005


def test_auto_beats_random_where_layers_decide_on_bits() -> None:
    options = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (2, 4, 8)}
    problem = problem_of(evaluations=8, ratio=0.01, metric="bit_operations", **options)

    found, _ = study("auto", problem)
    drawn, _ = study("random", problem)

    assert score(found) > score(drawn) + 0.05


def test_first_comes_a_candidate_then_the_profile_then_the_knapsack() -> None:
    problem = problem_of(evaluations=15)

    _, trials = study("auto", problem)

    assert trials[0].role == "candidate"
    assert trials[0].images is None
    probes = [trial for trial in trials if trial.role == "probe"]
    assert [trial.number for trial in probes] == list(range(1, len(probes) + 1))
    spent = sum(trial.measurement.evaluations for trial in probes if trial.measurement)
    assert 0 < spent <= 0.1 * 15
    assert "knapsack" in trials[len(probes) + 1].note
    assert all(trial.note for trial in trials)


def first_note(evaluations: float, **options: Any) -> str:
    problem = problem_of(evaluations=evaluations)
    return create_searcher("auto", problem, options).ask().note


def test_the_first_trial_says_why_there_is_no_profile() -> None:
    assert first_note(15) == "uniform: the floor to beat"
    assert first_note(15, profile_share=0).endswith("; no sensitivity profile: profile_share is 0")
    dear = create_searcher("auto", replace(problem_of(evaluations=5), images=100), {}).ask().note
    probes = len(problem_of().space.decisions) + 1
    costs = (
        f"its smallest form, {probes} probes on 32 images, costs {0.32 * probes:.1f} evaluations"
    )
    assert f"; no sensitivity profile: {costs}, and its share of the effort is 0.5" in dear
    alone = create_searcher("auto", problem_of(plain_graph((8,))), {}).ask().note
    assert alone.endswith(
        "fewer than two decisions count in the budget, so there is nothing to compare"
    )


def best_within(trials: list[Trial], problem: SearchProblem) -> list[float]:
    full = problem.space.full
    scored = [
        (trial.measurement.cost, trial.score)
        for trial in trials
        if trial.measurement is not None and trial.score is not None
    ]
    return [
        max(score for cost, score in scored if budget.allows(cost, full))
        for budget in problem.budgets
    ]


def test_several_budgets_share_one_profile_and_each_beats_its_uniform_policy() -> None:
    problem = replace(problem_of(evaluations=24), smaller_ratios=(0.35, 0.2))
    evaluator = FormulaEvaluator(problem.space, seed=1)

    _, trials = study("auto", problem)

    probes = [trial for trial in trials if trial.role == "probe"]
    assert len({trial.policy for trial in probes}) == len(probes)
    found = best_within(trials, problem)
    assert found == sorted(found, reverse=True)
    for budget, score_found in zip(problem.budgets, found, strict=True):
        floor = problem.space.policy(problem.space.uniform(budget))
        assert score_found > evaluator.evaluate(floor).score


def test_what_one_budget_teaches_serves_the_others() -> None:
    problem = replace(problem_of(evaluations=15), smaller_ratios=(0.4, 0.3, 0.2))

    _, together = study("auto", problem)
    apart = [trial for part in problem.by_budget() for trial in study("auto", part)[1]]

    assert sum(best_within(together, problem)) > sum(best_within(apart, problem))


def test_an_effort_of_one_evaluation_scores_the_uniform_policy() -> None:
    problem = problem_of(evaluations=1)

    summary, trials = study("auto", problem)

    assert len(trials) == 1
    assert trials[0].policy.widths(problem.space.graph) == problem.space.uniform(problem.budget)
    assert summary.best == trials[0]


def test_where_each_evaluation_repairs_as_much_as_it_scores_nothing_is_screened() -> None:
    problem = problem_of(evaluations=20)
    dear = SearchProblem(
        problem.space, problem.budget, problem.effort, 0, images=problem.images, repair_images=20000
    )
    searcher = AutoSearcher(dear, AutoConfig())
    evaluator = FormulaEvaluator(problem.space)

    asked = []
    for _ in range(25):
        asked.append(searcher.ask())
        part = slice(0, asked[-1].images)
        searcher.tell(asked[-1].complete(evaluator.evaluate(asked[-1].policy, part)))

    assert {each.images for each in asked if each.role == "candidate"} == {None}


def test_screened_policies_without_a_chance_are_never_scored_on_all_images() -> None:
    _, trials = study("auto", problem_of(evaluations=8))
    screened = {trial.policy: trial for trial in trials if trial.images and trial.role != "probe"}
    promoted = {trial.policy for trial in trials if trial.score is not None}

    worst = min(screened.values(), key=lambda trial: trial.measurement.score)  # type: ignore
    assert worst.policy not in promoted
    assert promoted & set(screened)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    ratio=st.floats(0.2, 1.0),
    options=st.sampled_from(
        [
            {"round_to": 1},
            {"round_to": 4},
            {"weight_bits": (2, 4, 8, 32), "metric": "size_bytes"},
            {"schemes": ("element",), "density_step": 10, "metric": "bit_operations"},
        ]
    ),
)
def test_exchanges_stay_in_the_space_and_within_the_budget(
    seed: int, ratio: float, options: dict[str, Any]
) -> None:
    problem = problem_of(plain_graph((8, 16, 16)), ratio=ratio, **options)
    space, budget = problem.space, problem.budget
    rng = np.random.default_rng(seed)
    start = space.sample(rng, budget)

    exchanges = Exchanges(space, budget)
    for setting in exchanges.near(start, rng, 20):
        assert setting != start
        assert space.within(setting, budget)
        assert all(v in allowed for v, allowed in zip(setting, space.allowed, strict=True))
        grown = exchanges.filled(setting, rng)
        assert space.within(grown, budget)
        for place, allowed in enumerate(space.allowed):
            assert grown[place] >= setting[place]
            larger = [v for v in allowed if v > grown[place]][:1]
            assert not any(
                space.within([*grown[:place], v, *grown[place + 1 :]], budget) for v in larger
            )


def test_exchanges_of_a_space_without_a_free_group_are_none() -> None:
    problem = problem_of(plain_graph((8, 8)), ratio=1.0, max_sparsity=0.0)
    rng = np.random.default_rng(0)

    assert list(Exchanges(problem.space, problem.budget).near((8, 8), rng, 5)) == []


def test_surrogate_learns_a_smooth_function_and_tells_subsets_apart() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1.5, 0.0, (60, 5))
    values = -(inputs**2) @ np.arange(1.0, 6.0)
    subset = np.arange(60) % 2 == 0
    surrogate = Surrogate()

    surrogate.fit(inputs, subset, values - 3.0 * subset)  # subsets are off by a constant

    unseen = rng.uniform(-1.2, -0.2, (40, 5))
    means, deviations = surrogate.predict(unseen)
    expected = -(unseen**2) @ np.arange(1.0, 6.0)
    assert np.corrcoef(means, expected)[0, 1] > 0.98
    assert abs(np.mean(means - expected)) < 0.3
    assert (deviations > 0).all()
    samples = surrogate.sample(unseen, 300, np.random.default_rng(1))
    assert np.allclose(samples.mean(axis=0), means, atol=0.3 * deviations.max() + 0.05)


def test_surrogate_must_be_fitted_first() -> None:
    with pytest.raises(WrongState, match="fit it first"):
        Surrogate().predict(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profile_share", 1.0),
        ("screened", -1),
        ("error_probability", -0.1),
        ("filter_share", 1.0),
        ("filter_images", -1),
        ("width_evaluations", -1.0),
    ],
)
def test_options_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=name):
        AutoConfig(**{name: value})  # type: ignore[arg-type]
