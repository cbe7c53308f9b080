"""The multiple-choice knapsack: widths of least total loss within a budget.

Each group takes one of its allowed widths at a known loss, and losses add up. Costs do not: a
convolution's MACs are the product of its input's and its output's width. So the cost is taken as
what it is, a polynomial of second degree in the widths, and partial decisions (labels) are
compared only where they agree on every width that still meets an undecided one. With inner
channels alone there is no such width, and the method is the knapsack of SPDY and OBC; along a
chain there is one; where many paths are concatenated there are many, and the labels that promise
most are kept.

Source: Frantar and Alistarh, SPDY (ICML 2022), section 3.2, and Frantar et al., OBC (NeurIPS
2022), for the knapsack over layer losses. They round costs to buckets; here costs are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl_agents.allocation.knapsack_labels import WHOLE, LabelSetting, Options
from automl_agents.allocation.quadratic_costs import QuadraticCosts
from automl_compress.core import Budget, CompressionSpace

PRICES = 24  # tried at once
LOWEST_PRICE, HIGHEST_PRICE = 1e-5, 1e5  # in units of all losses over all costs
SWEEPS = 6
MOST_ROUNDS = 3  # of exchanges between all pairs of groups
TIE = 1e-9  # of the largest loss: among equal losses the wider network wins


class Allocator:
    """Solves the knapsack of one space and budget, for any losses."""

    def __init__(self, space: CompressionSpace, budget: Budget) -> None:
        """Take the cost model apart.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        space.check_reachable(budget)
        self.space, self.budget = space, budget
        self.costs = QuadraticCosts.of(space, budget.metric)
        self._limit = float(budget.limit(space.full))

    def solve(self, losses: Sequence[np.ndarray]) -> tuple[int, ...]:
        """Return the widths of least total loss within the budget.

        Args:
            losses: of each group at each of its allowed widths, in the space's order; at least
                0, never rising with the width.

        Returns:
            Allowed widths within the budget, of which no single one can grow: the optimum where
            the labels suffice, otherwise what labels and exchanges between two groups found.
        """
        scale = max((float(each[0]) for each in losses), default=0.0) or 1.0
        options = [
            Options(np.asarray(widths, dtype=np.float64), _tilted(loss, scale))
            for widths, loss in zip(self.space.allowed, losses, strict=True)
        ]
        knapsack = _Knapsack(self.costs, self._limit, options)
        best, price = knapsack.relaxed()
        labels = LabelSetting(self.costs, self._limit, options)
        best = min(labels.solution(best, price), best, key=knapsack.loss)
        chosen = [int(width) for width in knapsack.exchanged(best)]
        # Changes nothing, unless a cost model is no polynomial of second degree after all.
        keep = [width / full for width, full in zip(chosen, self._full, strict=True)]
        return self.space.repair(keep, self.budget)

    @property
    def _full(self) -> tuple[int, ...]:
        return self.space.graph.full_widths


def _tilted(losses: np.ndarray, scale: float) -> np.ndarray:
    return losses + scale * TIE * np.linspace(1.0, 0.0, len(losses))


@dataclass(frozen=True)
class _Knapsack:
    """Costs, limit and each group's options."""

    costs: QuadraticCosts
    limit: float
    options: Sequence[Options]

    def loss(self, widths: np.ndarray) -> float:
        """Return the total loss of widths (G,)."""
        return sum(each.loss(width) for each, width in zip(self.options, widths, strict=True))

    def relaxed(self) -> tuple[np.ndarray, float]:
        """Price the cost, so that groups decide almost alone, and look for the right price.

        Returns:
            Widths (G,) within the limit, and the price: loss for a unit of cost.
        """
        smallest = np.array([each.widths[0] for each in self.options])
        largest = np.array([each.widths[-1] for each in self.options])
        spread = self.costs.total(largest) - self.costs.total(smallest)
        unit = sum(float(each.losses[0]) for each in self.options) / max(spread, 1.0)
        best, price = smallest, unit
        for start in (largest, smallest):
            low, high = LOWEST_PRICE * unit, HIGHEST_PRICE * unit
            for _ in range(2):
                prices = np.geomspace(low, high, PRICES)
                found = self._priced(start, prices)
                fits = self.costs.totals(found) <= self.limit + WHOLE
                first = int(np.argmax(fits)) if fits.any() else PRICES - 1
                low, high = prices[max(first - 1, 0)], prices[first]
                for widths in found[fits]:
                    if self.loss(widths) < self.loss(best):
                        best, price = widths, float(high)
        return best, price

    def _priced(self, start: np.ndarray, prices: np.ndarray) -> np.ndarray:
        """Lower loss + price * cost, one group after the other, until nothing changes: (P, G)."""
        widths = np.tile(start, (len(prices), 1))
        for _ in range(SWEEPS):
            before = widths.copy()
            for group, options in enumerate(self.options):
                costs = self.costs.alone(group, widths, options.widths)  # (P, W)
                chosen = np.argmin(options.losses + prices[:, None] * costs, axis=1)
                widths[:, group] = options.widths[chosen]
            if np.array_equal(widths, before):
                break
        return widths

    def exchanged(self, widths: np.ndarray) -> np.ndarray:
        """Move one or two groups at a time, within the limit, while that lowers the loss."""
        widths = widths.copy()
        free = [group for group, each in enumerate(self.options) if len(each.widths) > 1]
        pairs = [(one, two) for place, one in enumerate(free) for two in free[place + 1 :]]
        for _ in range(MOST_ROUNDS):
            if not self._moved(widths, pairs):
                break
        while self._moved(widths, [(group, group) for group in free]):
            pass  # each move lowers the loss, so this ends
        return widths

    def _moved(self, widths: np.ndarray, moves: Sequence[tuple[int, int]]) -> bool:
        has_moved = False
        for one, two in moves:
            has_moved |= self._exchange(widths, one, two)
        return has_moved

    def _exchange(self, widths: np.ndarray, one: int, two: int) -> bool:
        """Give two groups, or one, their best widths while the others stay; has that changed?"""
        first, second = self.options[one].near(widths[one]), self.options[two].near(widths[two])
        if one == two:
            second = Options(widths[[two]], np.zeros(1))
        others = widths.copy()
        others[[one, two]] = 0.0
        costs = self._pair_costs(others, (one, first), (two, second))
        losses = first.losses[:, None] + second.losses
        before = self.options[one].loss(widths[one])
        before += self.options[two].loss(widths[two]) if one != two else 0.0
        losses = np.where(costs <= self.limit + WHOLE, losses, np.inf)
        row, column = np.unravel_index(np.argmin(losses), losses.shape)
        if losses[row, column] >= before:
            return False
        widths[two] = second.widths[column]
        widths[one] = first.widths[row]
        return True

    def _pair_costs(
        self, others: np.ndarray, one: tuple[int, Options], two: tuple[int, Options]
    ) -> np.ndarray:
        costs = self.costs
        (a, first), (b, second) = one, two
        alone = costs.alone(a, others[None], first.widths)[0]
        total = costs.total(others) + alone[:, None]
        if a == b:
            return total
        mixed = costs.pairs[a, b] * first.widths[:, None] * second.widths
        return total + costs.alone(b, others[None], second.widths)[0] + mixed
