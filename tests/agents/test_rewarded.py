"""Agents whose reward pays for a lower cost: AMC's two further rewards, under every law."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from automl_agents.catalogue import check_options, check_serves, create_searcher
from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.rewarded import budget_below
from automl_compress.core import SearchProblem, Trial
from automl_compress.core.errors import InvalidInput
from automl_compress.search import StudySummary
from tests.agents.joint_contract import BITS, JointSearcherContract
from tests.agents.studies import run_study
from tests.contracts.searcher import Create, SearcherContract
from tests.fakes import FormulaEvaluator, problem_of

SMALL = {"hidden": [16, 16], "batch_size": 8}
FAITHFUL = {"mode": "faithful", "warmup_evaluations": 4}
FLOOR = 0.8


def with_floor(problem: SearchProblem, floor: float | None = FLOOR) -> SearchProblem:
    return replace(problem, accuracy_floor=floor)


class FlooredContract(SearcherContract):
    floor: float | None = FLOOR

    def problem_of(self, *given: Any, **more: Any) -> SearchProblem:
        return with_floor(super().problem_of(*given, **more), self.floor)


class TestLeastCost(FlooredContract):
    @pytest.fixture(params=["amc", "amc faithful", "agmc", "agmc faithful"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        name, _, mode = request.param.partition(" ")
        options = SMALL | (FAITHFUL if mode else {})
        return lambda problem: create_searcher(name, with_floor(problem), options)


class TestAutoForLeastCost(FlooredContract):
    @pytest.fixture(params=[{}, {"subset_images": 0}, {"profile_share": 0.0}])
    def create(self, request: pytest.FixtureRequest) -> Create:
        return lambda problem: create_searcher("auto", with_floor(problem), request.param)


class TestErrorTimesLogCost(FlooredContract):
    floor = None

    @pytest.fixture(params=["amc", "amc faithful", "agmc", "agmc faithful"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        name, _, mode = request.param.partition(" ")
        options = SMALL | (FAITHFUL if mode else {}) | {"reward": "error_times_log_cost"}
        return lambda problem: create_searcher(name, problem, options)


class TestHaqForLeastCost(JointSearcherContract):
    @pytest.fixture(params=[{}, FAITHFUL])
    def create(self, request: pytest.FixtureRequest) -> Create:
        options = SMALL | request.param
        return lambda problem: create_searcher("haq", with_floor(problem), options)


def searched(
    problem: SearchProblem, name: str = "amc", **options: Any
) -> tuple[StudySummary, list[Trial], FormulaEvaluator]:
    searcher = create_searcher(name, problem, (SMALL if name == "amc" else {}) | options)
    evaluator = FormulaEvaluator(problem.space)
    summary, trials = run_study(searcher, evaluator, problem)
    return summary, [each for each in trials if each.score is not None], evaluator


def kept(problem: SearchProblem, trials: list[Trial]) -> np.ndarray:
    costs = [each.measurement.cost.macs for each in trials if each.measurement is not None]
    return np.array(costs) / problem.space.full.macs


@pytest.mark.parametrize("name", ["amc", "auto"])
def test_with_a_floor_the_cost_falls_below_the_uniform_policy_of_that_accuracy(name: str) -> None:
    problem = with_floor(problem_of(ratio=1.0, evaluations=120, seed=1))

    summary, _, evaluator = searched(problem, name)

    best = summary.require_best().measurement
    assert best is not None
    assert best.accuracy >= FLOOR
    uniform = [problem.space.clip([share] * 9) for share in np.linspace(0.1, 1.0, 91)]
    reaching = [
        problem.space.costs.cost(setting).macs
        for setting in uniform
        if evaluator.evaluate(problem.space.policy(setting)).accuracy >= FLOOR
    ]
    assert best.cost.macs < 0.95 * min(reaching)


@pytest.mark.parametrize("options", [{}, FAITHFUL])
def test_paid_for_error_and_cost_no_policy_is_brought_to_the_budget(options: Any) -> None:
    problem = problem_of(ratio=0.7, evaluations=24)

    _, at_budget, _ = searched(problem, **({} if not options else FAITHFUL | {"limit": "scale"}))
    _, freely, _ = searched(problem, **options, reward="error_times_log_cost")

    assert kept(problem, at_budget).min() > 0.69  # scaled to it
    assert kept(problem, freely).max() <= 0.7
    assert kept(problem, freely).min() < 0.5
    assert np.std(kept(problem, freely)) > 0.05


@pytest.mark.slow
def test_paid_for_error_and_cost_accuracy_comes_first() -> None:
    # Of AMC's paper: the reward finds how far a network can be cut at no loss.
    problem = problem_of(ratio=1.0, evaluations=120, seed=1)

    _, trials, evaluator = searched(problem, reward="error_times_log_cost")

    uncut = evaluator.evaluate(problem.space.policy(problem.space.largest)).accuracy
    last = [each.measurement.accuracy for each in trials[-20:] if each.measurement is not None]
    assert np.mean(last) > uncut - 0.01
    assert np.mean(kept(problem, trials[-20:])) < 0.98


def test_the_warmup_of_a_search_for_least_cost_is_spread_over_costs() -> None:
    problem = with_floor(problem_of(ratio=0.9, evaluations=80))
    searcher = create_searcher("amc", problem, SMALL | {"profile_share": 0.0})

    asked = [searcher.ask().policy for _ in range(20)]

    space = problem.space
    shares = [space.costs.cost(space.setting(each)).macs / space.full.macs for each in asked]
    assert shares[0] == pytest.approx(0.9, abs=0.02)
    assert min(shares) < 0.3
    assert max(shares) <= 0.9


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.5, 1.0])
def test_a_budget_below_another_one_can_be_reached(share: float) -> None:
    for ratio in (0.03, 0.5, 1.0):
        problem = problem_of(ratio=ratio)

        budget = budget_below(problem, share)

        problem.space.check_reachable(budget)
        assert budget.ratio <= ratio


@pytest.mark.parametrize(
    ("options", "floor", "says"),
    [
        ({"reward": "least_cost"}, None, "needs the accuracy floor"),
        ({"reward": "score"}, FLOOR, "pays nothing for a lower cost"),
        ({"limit": "scale"}, FLOOR, "brings every policy to the budget"),
        ({"reward": "error_times_log_cost", "limit": "scale"}, None, "brings every policy"),
    ],
)
@pytest.mark.parametrize("name", ["amc", "agmc", "haq"])
def test_a_reward_that_goes_with_no_such_search_is_refused(
    name: str, options: dict[str, Any], floor: float | None, says: str
) -> None:
    bits = BITS if name == "haq" else {}
    problem = with_floor(problem_of(**bits), floor)  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match=says):
        check_serves(name, problem, options)


@pytest.mark.parametrize("name", ["dp", "random", "portfolio", "tpe"])
def test_a_searcher_that_spends_its_budget_refuses_a_floor_and_names_those_that_do_not(
    name: str,
) -> None:
    able = r"spends the whole budget.*choose one .*: auto, amc, agmc$"
    with pytest.raises(InvalidInput, match=able):
        check_serves(name, with_floor(problem_of()), {})


def test_a_reward_that_is_none_is_refused_and_the_others_are_named() -> None:
    with pytest.raises(InvalidInput, match="'score' or 'error_times_log_cost' or 'least_cost'"):
        check_options("amc", {"reward": "acc_reward"})
    with pytest.raises(InvalidInput, match="score, error_times_log_cost, least_cost"):
        AmcConfig(reward="acc_reward")  # type: ignore[arg-type]


def test_the_bits_of_haq_are_paid_in_the_metric_of_the_budget() -> None:
    problem = problem_of(ratio=0.25, metric="bit_operations", evaluations=24, **BITS)  # type: ignore[arg-type]
    problem = replace(problem, accuracy_floor=0.7)
    searcher = create_searcher("haq", problem, SMALL)

    _, trials = run_study(searcher, FormulaEvaluator(problem.space), problem)

    costs = {
        each.measurement.cost.bit_operations
        for each in trials
        if each.measurement is not None and each.score is not None
    }
    assert len(costs) > 5
