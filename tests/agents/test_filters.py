import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_agents.auto.config import AutoConfig
from automl_agents.auto.filter_values import FilterValues
from automl_agents.auto.searcher import AutoSearcher
from automl_agents.filter_masks import FilterMasks
from automl_compress.core import Budget, Policy, SearchProblem, Trial
from tests.agents.filter_worth import FilterEvaluator
from tests.agents.studies import run_study
from tests.contracts.searcher import Create, SearcherContract, through_json
from tests.fakes import FormulaEvaluator, plain_graph, problem_of


def searched(problem: SearchProblem, config: AutoConfig) -> list[Trial]:
    return run_study(AutoSearcher(problem, config), FilterEvaluator(problem), problem)[1]


def best_score(trials: list[Trial], budget: Budget, problem: SearchProblem) -> float:
    return max(
        trial.score
        for trial in trials
        if trial.score is not None
        and trial.measurement is not None
        and budget.allows(trial.measurement.cost, problem.space.full)
    )


class TestAutoThatExchangesFromTheFirstRoundOn(SearcherContract):
    trials = 24

    @pytest.fixture
    def create(self) -> Create:
        return lambda problem: AutoSearcher(
            problem, AutoConfig(profile_share=0.02, filter_share=0.95, width_evaluations=0)
        )


@pytest.mark.parametrize("smaller", [(), (0.15,)])
def test_half_of_the_effort_goes_to_filters_and_pays(smaller: tuple[float, ...]) -> None:
    problem = replace(
        problem_of(plain_graph((32, 32, 32)), ratio=0.25, evaluations=40),
        smaller_ratios=smaller,
        importance=lambda: [[-float(place) for place in range(32)]] * 3,  # as the stand-in ranks
    )

    widths_alone = searched(problem, AutoConfig(filter_share=0.0))
    trials = searched(problem, AutoConfig())

    for budget in problem.budgets:
        before = best_score(widths_alone, budget, problem)
        assert best_score(trials, budget, problem) > before + 0.05
    exchanges = [trial for trial in trials if "filters" in trial.note]
    spent = sum(trial.measurement.evaluations for trial in exchanges if trial.measurement)
    assert 16 <= spent <= 21
    assert all(t.policy.choices[0].kept is not None for t in exchanges)


def test_a_floor_is_reached_at_less_cost_with_other_filters() -> None:
    problem = replace(
        problem_of(plain_graph((32, 32, 32)), ratio=1.0, evaluations=40),
        accuracy_floor=0.8,
        importance=lambda: [[-float(place) for place in range(32)]] * 3,  # as the stand-in ranks
    )

    def least(config: AutoConfig) -> float:
        return min(
            trial.measurement.cost.macs / problem.space.full.macs
            for trial in searched(problem, config)
            if trial.score is not None and trial.score >= 0.8 and trial.measurement is not None
        )

    assert least(AutoConfig()) < 0.8 * least(AutoConfig(filter_share=0.0))


def test_scores_that_are_no_numbers_teach_nothing() -> None:
    problem = problem_of(plain_graph((24, 24)), ratio=0.4, evaluations=12)
    config = AutoConfig(width_evaluations=0)
    searcher, evaluator = AutoSearcher(problem, config), FilterEvaluator(problem)
    whole: list[float] = []
    for number in range(120):
        suggestion = searcher.ask()
        measured = evaluator.evaluate(suggestion.policy, slice(0, suggestion.images))
        if "filters exchanged:" in suggestion.note and number % 3 == 0:
            measured = replace(measured, kl=float("nan"))
        elif suggestion.images is None:
            whole.append(measured.score)
        searcher.tell(suggestion.complete(measured))

    assert max(whole) > max(whole[:3]) + 0.1
    assert np.isfinite(searcher.snapshot().values["filters"]["values"][-1][-1])


def test_without_open_widths_the_rounds_have_all_of_the_effort() -> None:
    options = {"schemes": ("element",), "density_step": 10, "metric": "size_bytes"}
    problem = problem_of(evaluations=12, ratio=0.5, **options)

    def asked(config: AutoConfig) -> list[Policy]:
        searcher, evaluator = AutoSearcher(problem, config), FormulaEvaluator(problem.space)
        policies: list[Policy] = []
        for _ in range(40):
            suggestion = searcher.ask()
            part = slice(0, suggestion.images)
            searcher.tell(suggestion.complete(evaluator.evaluate(suggestion.policy, part)))
            policies.append(suggestion.policy)
        return policies

    assert asked(AutoConfig()) == asked(AutoConfig(filter_share=0.0))


@pytest.mark.parametrize(("ratio", "pays"), [(0.97, False), (0.5, True)])
def test_nothing_is_exchanged_where_hardly_any_filter_is_removed(ratio: float, pays: bool) -> None:
    problem = problem_of(plain_graph((24, 24, 24)), ratio=ratio, evaluations=12)

    trials = searched(problem, AutoConfig(width_evaluations=0.0))

    assert any("filters" in trial.note for trial in trials) == pays


def test_filters_wait_until_the_widths_had_their_evaluations() -> None:
    problem = problem_of(plain_graph((24, 24, 24)), ratio=0.4, evaluations=20)

    trials = searched(problem, AutoConfig(width_evaluations=5.0))

    spent = 0.0
    for trial in trials:
        if "filters" in trial.note:
            break
        spent += trial.measurement.evaluations if trial.measurement else 0.0
    assert 15.0 <= spent < 20.0


def test_exchanges_without_a_gain_end_and_the_rounds_go_on() -> None:
    problem = problem_of(plain_graph((24, 24)), ratio=0.4, evaluations=12)
    evaluator = FilterEvaluator(problem)
    evaluator.worth = [np.ones_like(each) for each in evaluator.worth]  # all filters are alike

    _, trials = run_study(AutoSearcher(problem, AutoConfig()), evaluator, problem)

    notes = [trial.note for trial in trials]
    assert sum("filters exchanged:" in note for note in notes) == 40
    assert "exchanged" not in notes[-1]


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 9),
    most=st.integers(1, 4),
    ratio=st.floats(0.2, 1.0),
)
def test_an_exchange_keeps_every_width(seed: int, count: int, most: int, ratio: float) -> None:
    problem = problem_of(plain_graph((8, 3, 16)), ratio=ratio, fix=(("convolution1", 0.5),))
    masks = FilterMasks(problem.space, problem.budget, None, 0.0)
    rng = np.random.default_rng(seed)
    mask = masks.random(rng)

    changes = masks.exchanged(mask, rng, count, most)

    for change in changes:
        changed = mask + change
        assert set(np.unique(changed)) <= {0, 1}
        widths = [masks.policy(each).widths(problem.space.graph) for each in (mask, changed > 0)]
        assert widths[0] == widths[1]
        assert 1 <= (change > 0).sum() <= most
    assert len(changes) <= count
    assert not mask.all() or not len(changes)


def gains_of(values: np.ndarray, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    masks = [rng.random(len(values)) < 0.5 for _ in range(count + 1)]
    return [after.astype(np.int8) - before.astype(np.int8) for before, after in pairwise(masks)]


def test_filter_values_come_near_the_true_ones_and_forget_nothing() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0.0, 0.05, 30)
    learnt, again = FilterValues(30), FilterValues(30)
    for change in gains_of(true, rng, 90):
        learnt.learn(change, float(change @ true + rng.normal(0.0, 0.01)))

    drawn = np.array([learnt.sample(np.random.default_rng(seed)) for seed in range(50)])
    again.restore(json.loads(json.dumps(learnt.to_json())))

    assert np.corrcoef(drawn.mean(axis=0), true)[0, 1] > 0.97
    assert drawn.std(axis=0).max() < 0.03
    assert np.allclose(
        again.sample(np.random.default_rng(7)), learnt.sample(np.random.default_rng(7))
    )


def test_filter_values_are_the_prior_before_anything_is_measured() -> None:
    drawn = np.array([FilterValues(20).sample(np.random.default_rng(seed)) for seed in range(200)])

    assert abs(drawn.mean()) < 0.005
    assert 0.045 < drawn.std() < 0.055


@pytest.mark.parametrize("stop", [35, 48, 61])
def test_a_snapshot_among_exchanges_goes_on_alike(stop: int) -> None:
    problem = problem_of(plain_graph((12, 12)), ratio=0.4, evaluations=6)
    evaluator = FilterEvaluator(problem)

    def advance(searcher: AutoSearcher, count: int) -> list[Mapping[str, object]]:
        policies = []
        for _ in range(count):
            suggestion = searcher.ask()
            part = slice(0, suggestion.images)
            searcher.tell(suggestion.complete(evaluator.evaluate(suggestion.policy, part)))
            policies.append(suggestion.policy.to_json())
        return policies

    first = AutoSearcher(problem, AutoConfig(filter_images=16, width_evaluations=0))
    advance(first, stop)
    second = AutoSearcher(problem, AutoConfig(filter_images=16, width_evaluations=0))
    second.restore(through_json(first.snapshot()))

    assert advance(second, 10) == advance(first, 10)
