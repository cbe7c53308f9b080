"""Which of some points nothing beats, and who asked for them."""

from collections.abc import Mapping, Sequence
from typing import Any

PORTFOLIO = "portfolio"  # whose notes begin with whose turn it was


def unbeaten(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the places of the points that no other one beats.

    Args:
        points: cost and quality of each; a lower cost and a higher quality are better. Of points
            that are equal in both, the first stays.
    """
    best = -float("inf")
    found: set[int] = set()
    for place in sorted(range(len(points)), key=lambda each: (points[each][0], -points[each][1])):
        if points[place][1] > best:
            best = points[place][1]
            found.add(place)
    return found


def searcher_of(study: Mapping[str, Any], note: str) -> str:
    """Return who asked for a trial: of a portfolio, the member that the trial's note names."""
    return note.partition(":")[0] if study["searcher"] == PORTFOLIO else study["searcher"]
