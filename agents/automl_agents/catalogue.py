"""The one catalogue of everything that proposes policies: by name, built on demand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from automl_agents.options import options_of, read_options
from automl_compress.core import Searcher, SearchProblem
from automl_compress.core.errors import UnknownName

if TYPE_CHECKING:
    from automl_agents.amc_config import AmcConfig


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The configuration of a searcher that has no knobs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A searcher of the catalogue.

    defaults: its configuration where these options leave it open; loads neither torch nor an
        RL library, so that names are listed and options checked in any process.
    create: builds it from its configuration; heavy imports happen here.
    recipe: how its candidates are scored where the job leaves it open.
    """

    summary: str
    defaults: Callable[[Mapping[str, Any]], Any]
    create: Callable[[SearchProblem, Any], Searcher]
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _uniform(problem: SearchProblem, _config: NoOptions) -> Searcher:
    from automl_agents.uniform import UniformSearcher

    return UniformSearcher(problem)


def _random(problem: SearchProblem, _config: NoOptions) -> Searcher:
    from automl_agents.random_search import RandomSearcher

    return RandomSearcher(problem)


def _amc(problem: SearchProblem, config: "AmcConfig") -> Searcher:
    from automl_agents.amc import AmcSearcher

    return AmcSearcher(problem, config)


def _no_options(_options: Mapping[str, Any]) -> NoOptions:
    return NoOptions()


def _amc_defaults(options: Mapping[str, Any]) -> "AmcConfig":
    from automl_agents.amc_config import AmcConfig

    return AmcConfig.faithful() if options.get("mode") == "faithful" else AmcConfig()


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
        _amc_defaults,
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
    return _entry(name).create(problem, _configuration(name, options))


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Make sure that a searcher could be built with these options; loads nothing heavy.

    Raises:
        UnknownName: no searcher has this name.
        InvalidInput: an option is unknown or has a value it cannot have.
    """
    _configuration(name, options)


def complete_recipe(name: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's fields, those of the searcher's method where they were left open.

    An unknown searcher adds nothing; it is refused where it is created.
    """
    defaults = SEARCHERS[name].recipe if name in SEARCHERS else {}
    return {**defaults, **recipe}


def describe() -> list[dict[str, Any]]:
    """Return name, summary and options with defaults of every searcher, ready for JSON."""
    return [
        {
            "name": name,
            "summary": entry.summary,
            "options": options_of(entry.defaults({})),
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
