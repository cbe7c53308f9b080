import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from automl_agents.catalogue import (
    check_options,
    complete_recipe,
    create_searcher,
    describe,
    searcher_names,
)
from automl_agents.names import SEARCHER_NAMES
from automl_compress.core import Recipe, SearchProblem
from automl_compress.core.errors import BudgetUnreachable, InvalidInput, UnknownName
from tests.contracts.searcher import Create, SearcherContract
from tests.fakes import problem_of


class TestEverySearcherOfTheCatalogue(SearcherContract):
    # The problem opens widths alone; `haq`, which needs bits, passes the same in its own tests.
    @pytest.fixture(
        params=[*(name for name in searcher_names() if name != "haq"), "amc faithful", "amc bound"]
    )
    def create(self, request: pytest.FixtureRequest) -> Create:
        name, _, mode = request.param.partition(" ")
        options: dict[str, object] = {}
        if name in ("amc", "agmc"):
            options = {"batch_size": 16, "hidden": [24, 24]}
        if mode == "faithful":
            options |= {"mode": "faithful", "warmup_evaluations": 4}
        if mode == "bound":
            options |= {"limit": "bound"}

        def create(problem: SearchProblem) -> object:
            return create_searcher(name, problem, options)

        return create  # type: ignore[return-value]


class TestSearchersOfSeveralBudgets(SearcherContract):
    # One that serves them by itself, and one that runs once for each.
    @pytest.fixture(params=["auto", "random"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        return lambda problem: create_searcher(request.param, problem, {})

    def problem_of(self, *given: Any, **more: Any) -> SearchProblem:
        problem = super().problem_of(*given, **more)
        return replace(problem, smaller_ratios=(problem.budget.ratio * 0.9,))


def test_every_budget_gets_its_share_of_the_asks() -> None:
    problem = replace(problem_of(evaluations=30), smaller_ratios=(0.4, 0.3))
    searcher, space = create_searcher("random", problem, {}), problem.space
    limits = [budget.limit(space.full) for budget in problem.budgets]

    asked = [searcher.ask() for _ in range(30)]

    costs = [space.costs.cost(space.setting(each.policy)).macs for each in asked]
    assert all(cost <= limits[0] for cost in costs)
    assert sum(cost <= limits[1] for cost in costs) == 20
    assert sum(cost <= limits[2] for cost in costs) == 10
    assert {each.note.partition(":")[0] for each in asked} == {"50 %", "40 %", "30 %"}


def test_a_searcher_that_cannot_serve_the_smallest_budget_refuses_all() -> None:
    problem = replace(problem_of(), smaller_ratios=(0.001,))

    with pytest.raises(BudgetUnreachable, match="smallest policy"):
        create_searcher("random", problem, {})
    with pytest.raises(BudgetUnreachable, match="smallest policy"):
        create_searcher("auto", problem, {})


@pytest.mark.parametrize("name", ["eagleeye", "metapruning"])
def test_a_method_that_is_a_recipe_refuses_other_recipes(name: str) -> None:
    problem = problem_of()
    own = complete_recipe(name, {})

    with pytest.raises(InvalidInput, match=r"recipe\.repair is 'none', and the method of") as told:
        create_searcher(name, replace(problem, recipe=Recipe(**{**own, "repair": "none"})), {})
    assert f"searcher {name!r} is 'recalibration'" in str(told.value)
    assert create_searcher(name, replace(problem, recipe=Recipe(**own)), {}).ask()
    assert create_searcher("random", replace(problem, recipe=Recipe(**own)), {}).ask()


def test_a_portfolio_has_members_of_its_recipe_alone() -> None:
    problem, options = problem_of(), {"members": ["random", "eagleeye"]}

    with pytest.raises(InvalidInput, match="method of searcher 'eagleeye'"):
        create_searcher("portfolio", replace(problem, recipe=Recipe()), options)
    recalibrated = replace(problem, recipe=Recipe(repair="recalibration"))
    assert create_searcher("portfolio", recalibrated, options).ask()


def test_catalogue_is_ready_for_json() -> None:
    described = json.loads(json.dumps(describe()))

    assert [each["name"] for each in described] == searcher_names()
    assert all(each["summary"] for each in described)
    options = {each["name"]: each["options"] for each in described}
    assert options["amc"]["mode"] == "corrected"
    takes = {each["name"]: each["takes"] for each in described}
    assert takes["amc"]["mode"] == "'corrected' or 'faithful'"
    assert takes["amc"]["replay_episodes"] == "an integer or null"
    assert takes["portfolio"] == {"members": "a list of strings"}
    missing = {name: set(options[name]) - set(takes[name]) for name in options}
    assert {name: each for name, each in missing.items() if each} == {"agmc": {"transfer_from"}}


def test_names_are_listed_and_options_checked_without_loading_anything_heavy() -> None:
    code = (
        "import sys; from automl_agents.catalogue import check_options, describe; describe(); "
        "check_options('amc', {'mode': 'faithful', 'tau': 0.5}); "
        "print({'torch', 'stable_baselines3', 'gymnasium', 'optuna'} & set(sys.modules) or 'none')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "none"


def test_names_that_need_no_catalogue_are_those_of_the_catalogue() -> None:
    assert list(SEARCHER_NAMES) == searcher_names()


def test_unknown_searcher_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"amc, .*random, .*uniform"):
        create_searcher("genetic", problem_of(), {})
    with pytest.raises(UnknownName, match=r"amc, .*random, .*uniform"):
        check_options("genetic", {})


@pytest.mark.parametrize("name", searcher_names())
def test_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="no option temperature"):
        check_options(name, {"temperature": 1.0})
    with pytest.raises(InvalidInput, match="no option temperature"):
        create_searcher(name, problem_of(), {"temperature": 1.0})


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("batch_size", "64", "an integer"),
        ("batch_size", 64.5, "an integer"),
        ("batch_size", True, "an integer"),
        ("tau", "much", "a number"),
        ("noise_sigma", float("inf"), "a number"),
        ("noise_sigma", 10**400, "a number"),
        ("mode", "magic", "'corrected' or 'faithful'"),
        ("hidden", [300, "wide"], "a list of integers"),
        ("warmup_evaluations", "many", "an integer or null"),
        ("batch_size", 0, "above 0"),
        ("hidden", [], "one to 4 widths"),
        ("hidden", [100_000, 100_000], "from 1 to 2,048"),
        ("hidden", [64] * 5, "one to 4 widths"),
        ("batch_size", 100_000, "4,096 at most"),
        ("replay_episodes", 100_000, "10,000 at most"),
        ("warmup_evaluations", 10**9, "1,000,000 at most"),
        ("tau", 2.0, "from 0 to 1"),
    ],
)
def test_ill_typed_option_says_what_it_takes(option: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected) as refused:
        check_options("amc", {option: value})
    assert option in str(refused.value)
    with pytest.raises(InvalidInput, match=expected):
        create_searcher("amc", problem_of(), {option: value})


@pytest.mark.parametrize("name", searcher_names())
def test_no_option_is_an_integer_that_would_exhaust_a_worker(name: str) -> None:
    described = {each["name"]: each["options"] for each in describe()}

    for option, default in described[name].items():
        if type(default) is int:
            with pytest.raises(InvalidInput, match=f"{option} .*at most|{option} .* to "):
                check_options(name, {option: 10**9})


@pytest.mark.parametrize("name", searcher_names())
def test_defaults_as_json_gives_them_are_options_that_a_searcher_takes(name: str) -> None:
    described = {each["name"]: each["options"] for each in json.loads(json.dumps(describe()))}

    check_options(name, described[name])


@pytest.mark.parametrize("name", searcher_names())
def test_impossible_budget_is_refused_with_the_smallest_cost(name: str) -> None:
    with pytest.raises(BudgetUnreachable, match="smallest policy"):
        create_searcher(name, problem_of(ratio=0.001), {})


def test_options_of_faithful_mode_start_from_the_published_constants() -> None:
    from automl_agents.reinforcement.amc import AmcSearcher

    searcher = create_searcher("amc", problem_of(), {"mode": "faithful", "tau": 0.5})

    assert isinstance(searcher, AmcSearcher)
    assert searcher.config.warmup_evaluations == 101
    assert searcher.config.tau == 0.5
