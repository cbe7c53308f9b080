"""Keeps a setting at a budget, decision by decision."""

from collections.abc import Callable, Sequence

from automl_compress.core import Budget, CompressionSpace


def grown(
    space: CompressionSpace,
    budget: Budget,
    setting: Sequence[int],
    worth: Callable[[int, int], float],
) -> tuple[int, ...]:
    """Grow single decisions by one allowed step, the worthiest first, until none fits.

    Args:
        space: with its allowed values.
        budget: what the result may cost.
        setting: within the budget.
        worth: of growing a decision (first argument, its place) from a value (second).

    Returns:
        A setting within the budget of which no single value can grow.
    """
    result = list(setting)
    places = [allowed.index(value) for allowed, value in zip(space.allowed, result, strict=True)]
    growing = set(range(len(result)))
    while growing:
        decision = max(sorted(growing), key=lambda each: worth(each, result[each]))
        places[decision] += 1
        before = result[decision]
        if places[decision] < len(space.allowed[decision]):
            result[decision] = space.allowed[decision][places[decision]]
            if space.within(result, budget):
                continue
            result[decision] = before
        growing.discard(decision)  # costs only rise: what does not fit now never will
    return tuple(result)


def shrunk(
    space: CompressionSpace,
    budget: Budget,
    setting: Sequence[int],
    loss: Callable[[int, int], float],
) -> tuple[int, ...]:
    """Lower single decisions by one step, those that lose least for what they save, to the budget.

    Args:
        space: with its allowed values.
        budget: what the result may cost; the space's smallest setting is within.
        setting: allowed values.
        loss: of a decision (first argument, its place) at a value (second).
    """
    result = list(setting)
    while not space.within(result, budget):
        now = space.costs.cost(result).of(budget.metric)
        best, least = None, (True, 0.0)
        for place, allowed in enumerate(space.allowed):
            below = allowed.index(result[place]) - 1
            if below >= 0:
                changed = [*result[:place], allowed[below], *result[place + 1 :]]
                saved = now - space.costs.cost(changed).of(budget.metric)
                harm = loss(place, allowed[below]) - loss(place, result[place])
                rank = (saved <= 0, harm / saved if saved > 0 else harm)
                if best is None or rank < least:
                    best, least = changed, rank
        assert best is not None
        result = best
    return tuple(result)
