"""What of a search its searcher refuses, before the search is stored."""

from collections.abc import Mapping
from typing import Any

from automl_agents import catalogue
from automl_api.problem import Problem, pointer, refuse
from automl_compress.core import CompressionSpace, SearchProblem, StudySpec
from automl_compress.core.errors import InvalidInput, UnknownName


def check_searcher(study: StudySpec) -> None:
    """Refuse an unknown searcher, and options that it cannot have; each is named."""
    options = study.searcher_options
    alone = [(name, {name: value}) for name, value in options.items()]
    wrong = [
        {"pointer": pointer("study", "searcher_options", name), "detail": detail}
        for name, each in alone
        if (detail := _option_error(study.searcher, each)) is not None
    ]
    if wrong:
        raise Problem(422, "invalid", wrong[0]["detail"], errors=wrong)
    together = _option_error(study.searcher, options)
    if together is not None:
        refuse("/study/searcher_options", "invalid", together)


def _option_error(searcher: str, options: Mapping[str, Any]) -> str | None:
    try:
        catalogue.check_options(searcher, options, allows_paths=False)
    except UnknownName as error:
        refuse("/study/searcher", "unknown-name", str(error))
    except InvalidInput as error:
        return str(error)
    return None


def check_serves(study: StudySpec, space: CompressionSpace) -> None:
    """Refuse a searcher that cannot serve a space and its budgets, which can be reached.

    A recipe that makes another method of it is refused, too.
    """
    conflicts = catalogue.recipe_conflicts(study.searcher, study.recipe, study.searcher_options)
    if conflicts:
        wrong = [
            {"pointer": pointer("study", "recipe", field), "detail": detail}
            for field, detail in conflicts.items()
        ]
        raise Problem(422, "invalid", wrong[0]["detail"], errors=wrong)
    problem = SearchProblem(
        space,
        study.budget,
        study.effort,
        study.seed,
        smaller_ratios=study.smaller_ratios,
        accuracy_floor=study.accuracy_floor,
    )
    try:
        catalogue.check_serves(study.searcher, problem, study.searcher_options)
    except InvalidInput as error:
        refuse("/study/searcher", "invalid", str(error))
