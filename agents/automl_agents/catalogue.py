"""The one catalogue of everything that proposes policies: by name, built on demand."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from automl_agents.entries import SEARCHERS, Entry
from automl_agents.options import options_of, read_options, words_of
from automl_agents.portfolio import PortfolioSearcher
from automl_agents.portfolio_config import PortfolioConfig
from automl_compress.core import Recipe, Searcher, SearchProblem
from automl_compress.core.errors import InvalidInput, UnknownName


def searcher_names() -> list[str]:
    """Return the names that `create_searcher` knows."""
    return list(SEARCHERS)


def create_searcher(name: str, problem: SearchProblem, options: Mapping[str, Any]) -> Searcher:
    """Build a searcher.

    Args:
        name: one of `searcher_names()`.
        problem: where it searches, under which limits, with which seed.
        options: fields of the searcher's configuration; what is left out has its default.

    Raises:
        UnknownName: no searcher has this name.
        InvalidInput: an option is unknown or has a value it cannot have, or the searcher
            cannot serve this problem.
        BudgetUnreachable: no policy of the space is within the budget.
    """
    check_serves(name, problem, options)
    config = _configuration(name, options)
    if isinstance(config, PortfolioConfig):
        return _portfolio(problem, config)
    entry, parts = _entry(name), problem.by_budget()
    if len(parts) == 1 or entry.shares_budgets:
        return entry.create(problem, config)
    # One of its kind for each budget; what two of them ask is measured once.
    return PortfolioSearcher(
        {f"{part.budget.ratio * 100:g} %": entry.create(part, config) for part in parts}
    )


def _portfolio(problem: SearchProblem, config: PortfolioConfig) -> Searcher:
    effort = problem.effort
    share = replace(effort, evaluations=effort.evaluations / len(config.members))
    part = replace(problem, effort=share)
    return PortfolioSearcher({name: create_searcher(name, part, {}) for name in config.members})


def check_options(name: str, options: Mapping[str, Any], *, allows_paths: bool = True) -> None:
    """Make sure that a searcher could be built with these options; loads nothing heavy.

    Raises:
        UnknownName: no searcher has this name.
        InvalidInput: an option is unknown or has a value it cannot have, or it names a file
            where only the service's own machine would have it.
    """
    paths = [each for each in _entry(name).path_options if options.get(each) is not None]
    if paths and not allows_paths:
        raise InvalidInput(
            f"option {paths[0]} of searcher {name!r} is the path of a file, which no request may "
            "give; leave it out, or search with `automl-compress run` or from Python"
        )
    config = _configuration(name, options)
    if isinstance(config, PortfolioConfig):
        for member in config.members:
            _entry(member)


def check_serves(name: str, problem: SearchProblem, options: Mapping[str, Any]) -> None:
    """Make sure that a searcher can serve this problem; loads nothing heavy.

    Raises:
        UnknownName: no searcher has this name.
        InvalidInput: it cannot; the message says why, and names those that can. Or an option
            is unknown or has a value it cannot have, or the problem's recipe is that of another
            method.
    """
    config = _configuration(name, options)
    if problem.recipe is not None:
        for detail in recipe_conflicts(name, problem.recipe, options).values():
            raise InvalidInput(detail)
    if isinstance(config, PortfolioConfig):
        for member in config.members:
            check_serves(member, problem, {})
    reason = _reason_to_refuse(_entry(name), problem, config)
    if reason is not None:
        able = [
            other
            for other, entry in SEARCHERS.items()
            if _reason_to_refuse(entry, problem, entry.defaults({})) is None
        ]
        raise InvalidInput(
            f"searcher {name!r} cannot serve this search: {reason}; or choose one that can: "
            f"{', '.join(able)}"
        )


def _reason_to_refuse(entry: Entry, problem: SearchProblem, config: Any) -> str | None:
    if problem.accuracy_floor is not None and not entry.seeks_least_cost:
        return (
            "it spends the whole budget, and an accuracy_floor asks for the least cost; leave the "
            "floor out (smaller_ratios give a front to choose from)"
        )
    reasons = (entry.refuses(part, config) for part in problem.by_budget())
    return next((reason for reason in reasons if reason is not None), None)


def complete_recipe(name: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's fields, those of the searcher's method where they were left open.

    An unknown searcher adds nothing; it is refused where it is created.
    """
    defaults = SEARCHERS[name].recipe if name in SEARCHERS else {}
    return {**defaults, **recipe}


def recipe_conflicts(name: str, recipe: Recipe, options: Mapping[str, Any]) -> dict[str, str]:
    """Return what of a recipe makes another method of a searcher, or of a portfolio's member.

    Returns:
        What is wrong and what to do, by the recipe's field; empty where the method is as named.

    Raises:
        UnknownName: no searcher has this name.
        InvalidInput: an option is unknown or has a value it cannot have.
    """
    config = _configuration(name, options)
    members = config.members if isinstance(config, PortfolioConfig) else (name,)
    return {
        field: (
            f"recipe.{field} is {getattr(recipe, field)!r}, and the method of searcher {member!r} "
            f"is {wanted!r}: set recipe.{field} to {wanted!r} (requests and commands that leave it "
            "out have it so), or choose another searcher"
        )
        for member in members
        for field, wanted in _entry(member).recipe.items()
        if getattr(recipe, field) != wanted
    }


def describe() -> list[dict[str, Any]]:
    """Return what there is to know of every searcher, ready for JSON.

    That is name, summary, options with their defaults, what each option takes in words (without
    those that no request may give), and the recipe of its method.
    """
    return [
        {
            "name": name,
            "summary": entry.summary,
            "options": options_of(entry.defaults({})),
            "takes": {
                option: words
                for option, words in words_of(entry.defaults({})).items()
                if option not in entry.path_options
            },
            "recipe": dict(entry.recipe),
        }
        for name, entry in SEARCHERS.items()
    ]


def _configuration(name: str, options: Mapping[str, Any]) -> Any:
    return read_options(name, _entry(name).defaults(options), options)


def _entry(name: str) -> Entry:
    if name not in SEARCHERS:
        raise UnknownName("searcher", name, SEARCHERS)
    return SEARCHERS[name]
