"""Moves from one policy at the budget to another: some groups shrink, another one grows."""

from collections.abc import Iterator, Sequence

import numpy as np

from automl_compress.core import Budget, CompressionSpace

STEP_SCALES = (0.05, 0.15, 0.4)  # of the logarithm of a keep ratio: fine, middling, bold
MOST_MOVED = 3  # groups that one move changes at random


def exchanges(
    space: CompressionSpace,
    budget: Budget,
    widths: Sequence[int],
    rng: np.random.Generator,
    count: int,
) -> Iterator[tuple[int, ...]]:
    """Yield up to `count` policies near `widths`, each at the budget.

    One to three groups change their keep ratio by a random factor; another one then takes the
    largest width that the budget still allows. A move that no width of that group pays for is
    left out.

    Args:
        space: where the widths lie.
        budget: what a policy may cost.
        widths: allowed widths to start from.
        rng: draws the moves.
        count: how many moves are tried.
    """
    free = [group for group, allowed in enumerate(space.allowed) if len(allowed) > 1]
    full = np.asarray(space.graph.full_widths)
    for _ in range(count if free else 0):
        moved = list(widths)
        size = int(rng.integers(1, min(MOST_MOVED, max(len(free) - 1, 1)) + 1))
        chosen = rng.permutation(free)[: size + 1]
        factors = np.exp(rng.normal(0.0, rng.choice(STEP_SCALES), size))
        keep = np.asarray(moved) / full
        keep[chosen[:size]] *= factors
        clipped = space.clip(np.minimum(keep, 1.0).tolist())
        for group in chosen[:size]:
            moved[group] = clipped[group]
        filler = int(chosen[-1])
        decided = {group: width for group, width in enumerate(moved) if group != filler}
        moved[filler] = space.largest_feasible(decided, filler, budget)
        if tuple(moved) != tuple(widths) and space.within(moved, budget):
            yield tuple(moved)


def filled(
    space: CompressionSpace, budget: Budget, widths: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...]:
    """Return the widths grown, group after group in random order, until none can grow."""
    grown = dict(enumerate(widths))
    for group in rng.permutation(len(grown)):
        others = {each: width for each, width in grown.items() if each != group}
        grown[int(group)] = max(
            grown[int(group)], space.largest_feasible(others, int(group), budget)
        )
    return tuple(grown[group] for group in range(len(grown)))
