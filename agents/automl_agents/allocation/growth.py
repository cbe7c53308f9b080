"""Spends what is left of a budget, group by group."""

from collections.abc import Callable, Sequence

from automl_compress.core import Budget, CompressionSpace


def grown(
    space: CompressionSpace,
    budget: Budget,
    widths: Sequence[int],
    worth: Callable[[int, int], float],
) -> tuple[int, ...]:
    """Grow single groups by one allowed step, the worthiest first, until none fits.

    Args:
        space: with its allowed widths.
        budget: what the result may cost.
        widths: allowed ones, within the budget.
        worth: of growing a group (first argument) from a width (second).

    Returns:
        Widths within the budget of which no single one can grow.
    """
    result = list(widths)
    places = [allowed.index(width) for allowed, width in zip(space.allowed, result, strict=True)]
    growing = set(range(len(result)))
    while growing:
        group = max(sorted(growing), key=lambda each: worth(each, result[each]))
        places[group] += 1
        before = result[group]
        if places[group] < len(space.allowed[group]):
            result[group] = space.allowed[group][places[group]]
            if space.within(result, budget):
                continue
            result[group] = before
        growing.discard(group)  # costs only rise: what does not fit now never will
    return tuple(result)
