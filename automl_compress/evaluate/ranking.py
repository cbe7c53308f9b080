"""Which of several confirmed networks is the best."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from automl_compress.core import Goal, Measurement, StudySpec

T = TypeVar("T")


def accuracy_floor(study: StudySpec, uncut: Measurement | None) -> float | None:
    """Return the accuracy that a study's confirmed networks should keep; None without a floor.

    Args:
        study: it may search the least cost at a floor, or its confirmation may set one, in points
            below the uncut network.
        uncut: what the uncut network scores, tuned alike, on the same images.
    """
    points = study.confirmation.floor_points
    if points is None or uncut is None:
        return study.accuracy_floor
    return uncut.accuracy - points / 100


def best_first(
    found: Iterable[T],
    search_of: Callable[[T], Measurement],
    study: StudySpec,
    uncut: Measurement | None,
) -> list[T]:
    """Sort confirmed networks, the best first; of equals the earlier stays in front.

    Without a floor the most accurate is the best. With one, those that keep to it come first, the
    cheapest of them in the budget's metric in front; behind them the others, by accuracy.

    Args:
        found: what to sort.
        search_of: gives its measurement on the search split, after tuning.
        study: with its floor and its budget.
        uncut: what the uncut network scores there, tuned alike.
    """
    goal = Goal(study.budget.metric, accuracy_floor(study, uncut))
    return sorted(found, key=lambda each: goal.rank(search_of(each)), reverse=True)
