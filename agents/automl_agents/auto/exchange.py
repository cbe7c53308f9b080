"""Moves from one policy at the budget to another: some decisions shrink, another one grows."""

from collections.abc import Iterator, Sequence

import numpy as np

from automl_agents.decisions import open_decisions
from automl_compress.core import Budget, CompressionSpace

STEP_SCALES = (0.05, 0.15, 0.4)  # of the logarithm of a share: fine, middling, bold
MOST_MOVED = 3  # decisions that one move changes at random

Setting = tuple[int, ...]


class Exchanges:
    """The moves within one space and budget.

    One to three decisions change their share by a random factor; another one then takes the
    largest value that the budget still allows. A move that no value of that decision pays for
    is left out.
    """

    def __init__(self, space: CompressionSpace, budget: Budget) -> None:
        """Find the decisions that are moved."""
        self._space, self._budget = space, budget
        self._open = open_decisions(space, budget.metric)

    def near(
        self, setting: Sequence[int], rng: np.random.Generator, count: int
    ) -> Iterator[Setting]:
        """Yield up to `count` settings near one, each at the budget.

        Args:
            setting: allowed values to start from.
            rng: draws the moves.
            count: how many moves are tried.
        """
        space, budget, places = self._space, self._budget, self._open
        for _ in range(count if places else 0):
            size = int(rng.integers(1, min(MOST_MOVED, max(len(places) - 1, 1)) + 1))
            chosen = rng.permutation(places)[: size + 1]
            moved = self._scaled(setting, chosen[:size], rng)
            filler = int(chosen[-1])
            decided = {place: value for place, value in enumerate(moved) if place != filler}
            moved[filler] = space.largest_feasible(decided, filler, budget)
            if tuple(moved) != tuple(setting) and space.within(moved, budget):
                yield tuple(moved)

    def _scaled(
        self, setting: Sequence[int], chosen: np.ndarray, rng: np.random.Generator
    ) -> list[int]:
        factors = np.exp(rng.normal(0.0, rng.choice(STEP_SCALES), len(chosen)))
        shares = self._space.shares(setting)
        shares[chosen] *= factors
        clipped = self._space.clip(np.minimum(shares, 1.0).tolist())
        moved = list(setting)
        for place, factor in zip(chosen, factors, strict=True):
            moved[place] = clipped[place]
            if self._space.decisions[place].kind != "width" and moved[place] == setting[place]:
                moved[place] = self._next(int(place), setting[place], 1 if factor > 1.0 else -1)
        return moved

    def _next(self, place: int, value: int, step: int) -> int:
        """Return the value a step away: few values lie too far apart for a small factor."""
        allowed = self._space.allowed[place]
        return allowed[min(max(allowed.index(value) + step, 0), len(allowed) - 1)]

    def filled(self, setting: Sequence[int], rng: np.random.Generator) -> Setting:
        """Return the setting grown, decision after decision in random order, until none can."""
        grown = dict(enumerate(setting))
        for place in rng.permutation(len(grown)):
            others = {each: value for each, value in grown.items() if each != place}
            largest = self._space.largest_feasible(others, int(place), self._budget)
            grown[int(place)] = max(grown[int(place)], largest)
        return tuple(grown[place] for place in range(len(grown)))
