import logging
import time

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from automl_agents.catalogue import check_serves, create_searcher
from automl_agents.optuna_search.cma_sampler import GENERATION, PARENTS, CmaSampler
from automl_agents.optuna_search.config import CmaesConfig, GpConfig, Nsga2Config, TpeConfig
from automl_agents.optuna_search.parameters import Parameters
from automl_agents.optuna_search.searcher import OptunaSearcher
from automl_agents.random_search import RandomSearcher
from automl_compress.core import Effort, Searcher, SearchProblem, Snapshot, Suggestion
from automl_compress.core.errors import InvalidInput
from tests.contracts.searcher import Create, SearcherContract, complete, failed, through_json
from tests.fakes import FormulaEvaluator, plain_graph, problem_of

NAMES = ("tpe", "nsga2", "cmaes", "gp")


def create(name: str, problem: SearchProblem, **options: object) -> Searcher:
    return create_searcher(name, problem, {"profile_share": 0.0, **options})


def advance(searcher: Searcher, problem: SearchProblem, trials: int) -> list[Suggestion]:
    suggestions = []
    for _ in range(trials):
        suggestions.append(searcher.ask())
        searcher.tell(complete(problem, suggestions[-1]))
    return suggestions


def best_score(searcher: Searcher, problem: SearchProblem, trials: int, seed: int) -> float:
    evaluator, best = FormulaEvaluator(problem.space, seed=seed), 0.0
    for _ in range(trials):
        suggestion = searcher.ask()
        measurement = evaluator.evaluate(suggestion.policy, slice(0, suggestion.images))
        searcher.tell(suggestion.complete(measurement))
        if suggestion.role == "candidate":
            best = max(best, measurement.score)
    return best


class TestSearchersUnderConstraints(SearcherContract):
    """The catalogue's suite runs on the defaults; these take proposals as they are."""

    @pytest.fixture(params=["tpe", "nsga2"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        options = {"budget_handling": "constraint", "draws": 5}

        def create(problem: SearchProblem) -> object:
            return create_searcher(request.param, problem, options)

        return create  # type: ignore[return-value]


@pytest.mark.parametrize("name", NAMES)
def test_first_comes_the_uniform_policy_then_proposals_at_the_budget(name: str) -> None:
    problem = problem_of()
    space = problem.space

    first, *others = advance(create(name, problem), problem, 14)

    assert first.policy.widths(space.graph) == space.uniform(problem.budget)
    for each in others:
        widths = list(each.policy.widths(space.graph))
        for group, width in enumerate(widths):
            if width < space.largest[group]:
                grown = [*widths[:group], width + 1, *widths[group + 1 :]]
                assert not space.within(grown, problem.budget)


def test_given_seeds_come_after_the_uniform_policy() -> None:
    problem = problem_of()
    space = problem.space
    seed = space.project([1.0, 0.2] + [0.5] * 7, problem.budget)

    searcher = OptunaSearcher(
        problem, lambda seed: RandomSampler(seed), seeds=[seed, space.uniform(problem.budget)]
    )
    asked = [each.policy.widths(space.graph) for each in advance(searcher, problem, 3)]

    assert asked[:2] == [space.uniform(problem.budget), seed]
    assert asked[2] not in asked[:2]


@pytest.mark.parametrize("name", ["tpe", "nsga2", "cmaes"])
def test_optuna_learns_of_the_policies_that_were_measured(name: str) -> None:
    problem = problem_of(skip=("stem",), fix=(("stage1", 0.25),))
    searcher = create(name, problem)
    names = [group.name for group in problem.space.graph.groups]

    suggestions = advance(searcher, problem, 12)
    searcher.tell(failed(searcher.ask()))

    snapshot = searcher.snapshot()
    free = [index for index, each in enumerate(names) if each not in ("stem", "stage1")]
    widths = np.array([each.policy.widths(problem.space.graph) for each in suggestions])
    measured = (widths / problem.space.graph.full_widths)[:, free]
    assert np.array_equal(snapshot.arrays["parameters"][:-1], measured)
    assert snapshot.values["states"] == ["COMPLETE"] * 12 + ["FAIL"]
    scores = [complete(problem, each).score for each in suggestions]
    assert snapshot.arrays["scores"][:-1].tolist() == scores
    assert np.isnan(snapshot.arrays["scores"][-1])


def test_the_process_learns_of_the_measured_policies_at_the_scale_of_its_draws() -> None:
    problem = problem_of(ratio=0.3)
    searcher = create("gp", problem)

    suggestions = advance(searcher, problem, 12)

    widths = np.array([each.policy.widths(problem.space.graph) for each in suggestions])
    measured = widths / problem.space.graph.full_widths
    told = searcher.snapshot().arrays["parameters"]
    free = (told > 0.101) & (told < 0.999)  # not clipped to their ranges
    scales = np.ma.masked_array(told / measured, ~free)
    assert np.ma.allclose(scales, scales.mean(axis=1, keepdims=True))
    assert np.array_equal(told[0], measured[0])
    assert scales.mean(axis=1).max() > 1.2


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_asked_again_only_where_there_is_no_other(name: str) -> None:
    problem = problem_of(plain_graph((10, 10)), ratio=0.5, evaluations=40)
    space, widths = problem.space, range(1, 11)
    within = [(a, b) for a in widths for b in widths if space.within((a, b), problem.budget)]
    at_the_budget = [
        (a, b) for a, b in within if (a + 1, b) not in within and (a, b + 1) not in within
    ]

    suggestions = advance(create(name, problem), problem, len(at_the_budget) + 3)

    asked = [each.policy.widths(space.graph) for each in suggestions]
    assert len(at_the_budget) == 7
    assert len(set(asked[:7])) >= 6  # chance tries a bounded number of times
    assert set(asked) <= set(at_the_budget)


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_over_the_budget_optuna_is_told_and_nobody_asked(name: str) -> None:
    problem = problem_of(evaluations=60)
    searcher = create(name, problem, budget_handling="constraint", draws=8)

    suggestions = advance(searcher, problem, 40)

    snapshot = searcher.snapshot()
    excess = np.array([each["constraints:budget"] for each in snapshot.values["attributes"]])
    assert np.sum(excess <= 0.0) == len(suggestions)
    assert 0 < np.sum(excess > 0.0) <= 7 * len(suggestions)
    assert any("within the budget" in each.note for each in suggestions)
    costs = [
        problem.space.costs.cost(each.policy.widths(problem.space.graph)).macs
        for each in suggestions
    ]
    assert min(costs) < 0.95 * max(costs)  # proposals are taken as they are


def test_a_proposal_is_repaired_when_the_draws_are_spent() -> None:
    problem = problem_of(ratio=0.05)  # nothing random is within

    suggestions = advance(create("tpe", problem, budget_handling="constraint", draws=2), problem, 4)

    assert [each.note for each in suggestions[1:]] == ["scaled to the budget"] * 3


@pytest.mark.parametrize("name", NAMES)
def test_scores_that_are_not_finite_count_as_failures(name: str) -> None:
    problem = problem_of()
    searcher = create(name, problem)
    suggestion = searcher.ask()
    measurement = FormulaEvaluator(problem.space).evaluate(suggestion.policy)
    object.__setattr__(measurement, "score", float("nan"))

    searcher.tell(suggestion.complete(measurement))

    assert searcher.snapshot().values["states"] == ["FAIL"]
    searcher.ask()


@pytest.mark.parametrize("name", NAMES)
def test_told_out_of_order_and_restored_it_asks_the_same(name: str) -> None:
    problem = problem_of(evaluations=40)
    original = create(name, problem)
    waiting: list[Suggestion] = []
    for number in range(16 if name == "gp" else 34):
        waiting.append(original.ask())
        if number % 3 == 2:
            for suggestion in reversed(waiting[1:]):  # the first one stays in flight
                original.tell(complete(problem, suggestion))
            waiting = waiting[:1]
    restored = create(name, problem)

    restored.restore(through_json(original.snapshot()))

    for searcher in (original, restored):
        searcher.tell(complete(problem, waiting[0]))
    again = 3 if name == "gp" else 12
    assert advance(restored, problem, again) == advance(original, problem, again)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "cmaes"])
def test_a_thousand_trials_are_restored_within_five_seconds(name: str) -> None:
    problem = problem_of(evaluations=2000)
    original = create(name, problem)
    advance(original, problem, 100)
    snapshot = through_json(original.snapshot())
    values = dict(snapshot.values)
    values |= {key: values[key] * 10 for key in ("states", "attributes")}
    arrays = {key: np.concatenate([each] * 10) for key, each in snapshot.arrays.items()}
    restored = create(name, problem)

    began = time.process_time()
    restored.restore(Snapshot(values, arrays))
    restored.ask()

    assert time.process_time() - began < 5.0
    assert restored.snapshot().values["states"] == ["COMPLETE"] * 1000 + ["RUNNING"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_finds_better_policies_than_random_search(name: str) -> None:
    found, drawn = [], []
    trials, seeds = (30, 2) if name == "gp" else (60, 3)
    for seed in range(seeds):
        problem = problem_of(evaluations=trials, seed=seed)
        found.append(best_score(create(name, problem), problem, trials, seed))
        drawn.append(best_score(RandomSearcher(problem), problem, trials, seed))

    assert np.mean(found) > np.mean(drawn) + 0.003


def test_optuna_says_nothing_and_its_log_level_stays(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("optuna").level
    problem = problem_of()

    for name in NAMES:
        advance(create(name, problem), problem, 12)

    assert capfd.readouterr().err == ""
    assert logging.getLogger("optuna").level == before


def test_a_generation_is_closed_once_by_the_trials_that_made_it() -> None:
    distributions = {name: FloatDistribution(0.1, 1.0) for name in "ab"}
    mean = {"a": 0.5, "b": 0.5}
    study = optuna.create_study(direction="maximize")

    for seed in range(9):
        study.sampler = CmaSampler(distributions, mean, 0.2, 4, seed)
        trial = study.ask(dict(distributions))  # type: ignore[arg-type]
        study.tell(trial, trial.params["a"] - trial.params["b"])

    generations = [each.system_attrs[GENERATION] for each in study.trials]
    assert generations == [0] * 4 + [1] * 4 + [2]
    parents = [each.system_attrs.get(PARENTS) for each in study.trials]
    assert parents == [None] * 4 + [[0, 1, 2, 3]] + [None] * 3 + [[4, 5, 6, 7]]


def test_cma_moves_towards_what_scores() -> None:
    distributions = {name: FloatDistribution(0.0, 1.0) for name in "abc"}
    study = optuna.create_study(direction="maximize")

    for seed in range(100):
        study.sampler = CmaSampler(distributions, dict.fromkeys("abc", 0.5), 0.2, None, seed)
        trial = study.ask(dict(distributions))  # type: ignore[arg-type]
        study.tell(trial, -sum((value - 0.8) ** 2 for value in trial.params.values()))

    last = [list(each.params.values()) for each in study.trials[-10:]]
    assert np.abs(np.mean(last, axis=0) - 0.8).max() < 0.1
    assert study.trials[-1].state is TrialState.COMPLETE


@pytest.mark.parametrize(
    ("options", "evaluations", "says"),
    [
        ({"max_decisions": 4}, 40, "9 decisions are open and its option max_decisions is 4"),
        ({}, 5000, "5000 evaluations and its option max_evaluations is 400"),
    ],
)
def test_gp_refuses_what_is_too_large_for_it(
    options: dict[str, int], evaluations: float, says: str
) -> None:
    problem = problem_of(evaluations=evaluations)

    for attempt in (check_serves, create_searcher):
        with pytest.raises(InvalidInput, match=says) as refused:
            attempt("gp", problem, options)
        assert "choose one that can: " in str(refused.value)
        assert "tpe, nsga2, cmaes" in str(refused.value)
    check_serves("gp", problem_of(evaluations=400), {})


@pytest.mark.parametrize(
    ("config", "options", "says"),
    [
        (TpeConfig, {"candidates": 0}, "candidates is 0; give an integer of at least 1"),
        (TpeConfig, {"startup_evaluations": 0}, "at least 1"),
        (TpeConfig, {"draws": 0}, "at least 1"),
        (Nsga2Config, {"population": 1}, "at least 2"),
        (Nsga2Config, {"mutation_rate": 1.5}, "from 0 to 1"),
        (CmaesConfig, {"population": 2}, "at least 3"),
        (CmaesConfig, {"sigma": 0.0}, "above 0 and at most 1"),
        (GpConfig, {"max_decisions": 0}, "at least 1"),
    ],
)
def test_options_outside_their_ranges_are_refused(
    config: type, options: dict[str, float], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        config(**options)


def test_what_is_left_open_follows_the_effort() -> None:
    assert Nsga2Config().size(Effort(20)) == 4
    assert Nsga2Config().size(Effort(300)) == 15
    assert Nsga2Config(population=7).size(Effort(300)) == 7


@pytest.mark.parametrize("name", ["tpe", "nsga2", "cmaes"])
def test_bits_are_ordered_integers_beside_shares(name: str) -> None:
    options = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (4, 8)}
    problem = problem_of(metric="size_bytes", ratio=0.1, evaluations=40, **options)
    space, searcher = problem.space, create(name, problem)

    suggestions = advance(searcher, problem, 14)

    parameters = Parameters(space, "size_bytes")
    limits = parameters.distributions
    assert limits["weight_bits.stage1"] == IntDistribution(1, 5)
    assert limits["stage1"] == FloatDistribution(4 / 32, 1.0)
    assert not any(each.startswith("activation_bits") for each in limits)  # bytes do not count them
    assert "weight_bits.classifier" not in limits  # an edge, at 8 bits
    settings = [space.setting(each.policy) for each in suggestions]
    told = searcher.snapshot().arrays["parameters"]
    for row, setting in zip(told, settings, strict=True):
        values = parameters.of_numbers(row.tolist())
        assert values == parameters.of_setting(setting)
        assert space.clip(parameters.shares(values)) == setting
    assert len(set(settings)) == 14


def test_cma_moves_integers_towards_what_scores() -> None:
    distributions = {"a": IntDistribution(1, 9), "b": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(direction="maximize")

    for seed in range(80):
        study.sampler = CmaSampler(distributions, {"a": 2, "b": 0.5}, 0.2, None, seed)
        trial = study.ask(dict(distributions))  # type: ignore[arg-type]
        a, b = trial.params["a"], trial.params["b"]
        study.tell(trial, -(((a - 7) / 8) ** 2) - (b - 0.8) ** 2)

    assert all(type(each.params["a"]) is int for each in study.trials)
    last = [each.params["a"] for each in study.trials[-12:]]
    assert sum(each in (6, 7, 8) for each in last) >= 9


@pytest.mark.slow
@pytest.mark.parametrize(("profile_share", "trials"), [(0.1, 90), (0.0, 70)])
def test_tpe_beats_random_where_layers_decide_on_bits(profile_share: float, trials: int) -> None:
    options = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (4, 8), "evaluations": 80}
    problem = problem_of(metric="size_bytes", ratio=0.08, **options)
    searcher = create("tpe", problem, profile_share=profile_share)

    found = best_score(searcher, problem, trials, 0)

    assert found > best_score(RandomSearcher(problem), problem, 80, 0) + 0.02
