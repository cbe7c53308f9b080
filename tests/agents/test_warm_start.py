from collections.abc import Sequence
from dataclasses import replace

import pytest

from automl_agents.allocation.knapsack import Allocator
from automl_agents.allocation.profile import SensitivityProfile
from automl_agents.catalogue import create_searcher
from automl_agents.random_search import RandomSearcher
from automl_agents.warm_start import WarmStartedSearcher
from automl_compress.core import Searcher, SearchProblem, Suggestion
from tests.fakes import FormulaEvaluator, problem_of


def advance(searcher: Searcher, problem: SearchProblem, trials: int) -> list[Suggestion]:
    evaluator, asked = FormulaEvaluator(problem.space), list[Suggestion]()
    for _ in range(trials):
        asked.append(searcher.ask())
        part = slice(0, asked[-1].images)
        searcher.tell(asked[-1].complete(evaluator.evaluate(asked[-1].policy, part)))
    return asked


def test_seeds_are_the_knapsacks_solutions_on_the_measured_profile() -> None:
    problem, given = problem_of(evaluations=40), list[Sequence[tuple[int, ...]]]()

    def create(seeds: Sequence[tuple[int, ...]]) -> Searcher:
        given.append(seeds)
        return RandomSearcher(problem)

    searcher = WarmStartedSearcher(problem, 0.1, create)
    asked = advance(searcher, problem, 40)

    probes = [each for each in asked if each.role == "probe"]
    assert probes == asked[: len(probes)]
    profile = SensitivityProfile(problem.space, searcher._profile.plan)
    profile.restore(searcher._profile.to_json())
    expected = Allocator(problem.space, problem.budget).solve(profile.curves("kl"))
    assert len(given) == 1
    assert expected in given[0]
    assert all(problem.space.within(widths, problem.budget) for widths in given[0])


@pytest.mark.parametrize("name", ["tpe", "nsga2", "cmaes", "gp"])
def test_the_first_candidates_are_the_uniform_policy_and_the_knapsacks(name: str) -> None:
    problem = problem_of(evaluations=20)

    searcher, candidates = create_searcher(name, problem, {}), list[Suggestion]()
    while len(candidates) < 2:
        candidates += [each for each in advance(searcher, problem, 1) if each.role == "candidate"]

    widths = [each.policy.widths(problem.space.graph) for each in candidates]
    assert widths[0] == problem.space.uniform(problem.budget)
    assert candidates[1].note == "given seed"
    evaluator = FormulaEvaluator(problem.space)
    uniform, knapsack = (evaluator.evaluate(each.policy).score for each in candidates[:2])
    assert knapsack > uniform


@pytest.mark.parametrize(("evaluations", "share"), [(40, 0.0), (2, 0.1)])
def test_an_effort_too_small_for_a_profile_has_none(evaluations: int, share: float) -> None:
    problem = replace(problem_of(evaluations=evaluations), images=100)
    searcher = create_searcher("tpe", problem, {"profile_share": share})

    assert searcher.ask().role == "candidate"
