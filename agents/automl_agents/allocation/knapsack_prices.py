"""The knapsack relaxed: each unit of cost has a price, so that choices are almost separate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl_agents.allocation.knapsack_labels import WHOLE, Options
from automl_agents.allocation.layer_costs import LayerCosts
from automl_agents.allocation.layer_options import LayerOptions

PRICES = 24  # tried at once
LOWEST_PRICE, HIGHEST_PRICE = 1e-5, 1e5  # in units of all losses over all costs
SWEEPS = 6


@dataclass(frozen=True)
class Solution:
    """Widths (G,), and which combination each layer takes, (L,)."""

    widths: np.ndarray
    chosen: np.ndarray

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What two equal solutions have in common."""
        return self.widths.tobytes(), self.chosen.tobytes()

    def loss(self, groups: Sequence[Options], layers: LayerOptions) -> float:
        """Return the total loss."""
        widths = zip(groups, self.widths, strict=True)
        return sum(each.loss(width) for each, width in widths) + layers.loss(self.chosen)


def relaxed(
    costs: LayerCosts, limit: float, groups: Sequence[Options], layers: LayerOptions
) -> tuple[list[Solution], float]:
    """Look for the right price.

    Returns:
        Different solutions within the limit, at least one, by their loss; and the price of the
        first: loss for a unit of cost.
    """
    smallest = np.array([each.widths[0] for each in groups])
    largest = np.array([each.widths[-1] for each in groups])
    cheapest = Solution(smallest, np.zeros(len(layers.losses), dtype=np.int64))
    dearest = Solution(largest, layers.counts - 1)
    spread = _total(costs, layers, dearest) - _total(costs, layers, cheapest)
    unit = cheapest.loss(groups, layers) / max(spread, 1.0)
    best, price = cheapest, unit
    found = {cheapest.key: cheapest}
    for start in (dearest, cheapest):
        low, high = LOWEST_PRICE * unit, HIGHEST_PRICE * unit
        for _ in range(2):
            prices = np.geomspace(low, high, PRICES)
            widths, chosen = _priced(costs, groups, layers, start, prices)
            fits = costs.given(layers.prices(chosen)).totals(widths) <= limit + WHOLE
            first = int(np.argmax(fits)) if fits.any() else PRICES - 1
            low, high = prices[max(first - 1, 0)], prices[first]
            for place in np.flatnonzero(fits):
                solution = Solution(widths[place], chosen[place])
                if solution.loss(groups, layers) < best.loss(groups, layers):
                    best, price = solution, float(high)
                found.setdefault(solution.key, solution)
    return sorted(found.values(), key=lambda each: each.loss(groups, layers)), price


def _total(costs: LayerCosts, layers: LayerOptions, solution: Solution) -> float:
    return costs.given(layers.prices(solution.chosen)).total(solution.widths)


def _priced(
    costs: LayerCosts,
    groups: Sequence[Options],
    layers: LayerOptions,
    start: Solution,
    prices: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Lower loss + price * cost, one group after the other, then the layers, while that helps.

    Returns:
        Widths (P, G) and combinations (P, L).
    """
    widths = np.tile(start.widths, (len(prices), 1))
    chosen = np.tile(start.chosen, (len(prices), 1))
    for _ in range(SWEEPS):
        before = widths.copy(), chosen
        given = costs.given(layers.prices(chosen))
        for group, options in enumerate(groups):
            if len(options.widths) > 1:
                alone = given.alone(group, widths, options.widths)  # (P, W)
                best = np.argmin(options.losses + prices[:, None] * alone, axis=1)
                widths[:, group] = options.widths[best]
        measures = costs.measures(widths)  # (P, L, 3)
        own = np.einsum("pli,lsi->pls", measures, layers.all_prices)
        chosen = np.argmin(layers.losses + prices[:, None, None] * own, axis=2)
        if np.array_equal(widths, before[0]) and np.array_equal(chosen, before[1]):
            break
    return widths, chosen
