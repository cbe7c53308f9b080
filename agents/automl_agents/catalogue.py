"""The one catalogue of everything that proposes policies: by name, built on demand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from automl_agents.options import options_of, read_options
from automl_compress.core import Searcher, SearchProblem
from automl_compress.core.errors import UnknownName


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The configuration of a searcher that has no knobs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A searcher of the catalogue.

    options: field names of its configuration and their defaults; loads what it needs.
    create: builds it; heavy imports happen here, so that listing names stays cheap.
    """

    summary: str
    options: Callable[[], dict[str, Any]]
    create: Callable[[SearchProblem, Mapping[str, Any]], Searcher]


def _uniform(problem: SearchProblem, options: Mapping[str, Any]) -> Searcher:
    from automl_agents.uniform import UniformSearcher

    read_options("uniform", NoOptions(), options)
    return UniformSearcher(problem)


def _random(problem: SearchProblem, options: Mapping[str, Any]) -> Searcher:
    from automl_agents.random_search import RandomSearcher

    read_options("random", NoOptions(), options)
    return RandomSearcher(problem)


def _amc(problem: SearchProblem, options: Mapping[str, Any]) -> Searcher:
    from automl_agents.amc import AmcSearcher
    from automl_agents.amc_config import AmcConfig

    is_faithful = options.get("mode") == "faithful"
    defaults = AmcConfig.faithful() if is_faithful else AmcConfig()
    return AmcSearcher(problem, read_options("amc", defaults, options))


def _no_options() -> dict[str, Any]:
    return options_of(NoOptions)


def _amc_options() -> dict[str, Any]:
    from automl_agents.amc_config import AmcConfig

    return options_of(AmcConfig)


SEARCHERS: Mapping[str, Entry] = {
    "uniform": Entry(
        "One keep ratio for every group, as large as the budget allows. A baseline.",
        _no_options,
        _uniform,
    ),
    "random": Entry(
        "Random keep ratios, each draw scaled to the budget. The baseline at equal effort.",
        _no_options,
        _random,
    ),
    "amc": Entry(
        "AMC: a DDPG actor decides layer by layer (He et al. 2018); corrected or faithful mode.",
        _amc_options,
        _amc,
    ),
}


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
        InvalidInput: an option is unknown or has a value it cannot have.
        BudgetUnreachable: no policy of the space is within the budget.
    """
    if name not in SEARCHERS:
        raise UnknownName("searcher", name, SEARCHERS)
    return SEARCHERS[name].create(problem, options)


def describe() -> list[dict[str, Any]]:
    """Return name, summary and options with defaults of every searcher, ready for JSON."""
    return [
        {"name": name, "summary": entry.summary, "options": entry.options()}
        for name, entry in SEARCHERS.items()
    ]
