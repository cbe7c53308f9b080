"""Exchanges: one or two groups or layers take other values while the others stay."""

from collections.abc import Sequence

import numpy as np

from automl_agents.allocation.knapsack_labels import WHOLE, Options
from automl_agents.allocation.knapsack_prices import Solution
from automl_agents.allocation.layer_costs import LayerCosts
from automl_agents.allocation.layer_options import LayerOptions

MOST_ROUNDS = 3  # of exchanges between all pairs


class Exchanges:
    """A solution that improves. Places: the G groups, then the L layers."""

    def __init__(
        self,
        costs: LayerCosts,
        limit: float,
        groups: Sequence[Options],
        layers: LayerOptions,
        solution: Solution,
    ) -> None:
        """Begin at a solution within the limit."""
        self._costs, self._limit = costs, limit
        self._groups, self._layers = groups, layers
        self._widths, self._chosen = solution.widths.copy(), solution.chosen.copy()
        self._given = costs.given(layers.prices(self._chosen))

    def best(self) -> Solution:
        """Move one or two places at a time, within the limit, while that lowers the loss."""
        free = [place for place, each in enumerate(self._groups) if len(each.widths) > 1]
        free += [len(self._groups) + layer for layer in range(len(self._chosen))]
        pairs = [(one, two) for place, one in enumerate(free) for two in free[place + 1 :]]
        for _ in range(MOST_ROUNDS):
            if not self._moved(pairs):
                break
        while self._moved([(place, place) for place in free]):
            pass  # each move lowers the loss, so this ends
        return Solution(self._widths, self._chosen)

    def _moved(self, moves: Sequence[tuple[int, int]]) -> bool:
        has_moved = False
        for one, two in moves:
            has_moved |= self._exchange(one, two)
        return has_moved

    def _exchange(self, one: int, two: int) -> bool:
        """Give two places, or one, their best values while the others stay; has that changed?"""
        first, second = self._options(one), self._options(two)
        if one == two:
            second = Options(np.zeros(1), np.zeros(1))
        losses = first.losses[:, None] + second.losses
        before = self._loss(one) + (self._loss(two) if one != two else 0.0)
        costs = self._totals(one, first, two, second)
        losses = np.where(costs <= self._limit + WHOLE, losses, np.inf)
        row, column = np.unravel_index(np.argmin(losses), losses.shape)
        if losses[row, column] >= before:
            return False
        if one != two:
            self._take(two, second.widths[column])
        self._take(one, first.widths[row])
        return True

    def _layer(self, place: int) -> int:
        """Return the layer of a place; negative for a group."""
        return place - len(self._groups)

    def _options(self, place: int) -> Options:
        """Return what a place may take: widths near its own, or columns of a layer."""
        layer = self._layer(place)
        if layer < 0:
            return self._groups[place].near(self._widths[place])
        columns = np.arange(self._layers.counts[layer])
        return Options(columns, self._layers.losses[layer, : len(columns)])

    def _loss(self, place: int) -> float:
        layer = self._layer(place)
        if layer < 0:
            return self._groups[place].loss(self._widths[place])
        return float(self._layers.losses[layer, self._chosen[layer]])

    def _take(self, place: int, value: float) -> None:
        layer = self._layer(place)
        if layer < 0:
            self._widths[place] = value
            return
        self._chosen[layer] = int(value)
        self._given = self._costs.given(self._layers.prices(self._chosen))

    def _totals(self, one: int, first: Options, two: int, second: Options) -> np.ndarray:
        """Return the cost of each combination of two places' options; (one's, two's)."""
        if self._layer(one) >= 0:
            return self._of_layers(one, two)
        if self._layer(two) >= 0:
            return self._of_group_and_layer(one, first, two)
        return self._of_groups(one, first, two, second)

    def _of_groups(self, one: int, first: Options, two: int, second: Options) -> np.ndarray:
        given, others = self._given, self._widths.copy()
        others[[one, two]] = 0.0
        alone = given.alone(one, others[None], first.widths)[0]
        total = given.total(others) + alone[:, None]
        if one == two:
            return total
        mixed = given.pairs[one, two] * first.widths[:, None] * second.widths
        return total + given.alone(two, others[None], second.widths)[0] + mixed

    def _of_group_and_layer(self, group: int, options: Options, place: int) -> np.ndarray:
        layer = self._layer(place)
        widths = np.tile(self._widths, (len(options.widths), 1))
        widths[:, group] = options.widths
        prices = self._layers.all_prices[layer, : self._layers.counts[layer]]  # (S, 3)
        changed = prices - prices[self._chosen[layer]]
        return self._given.totals(widths)[:, None] + self._costs.measure(layer, widths) @ changed.T

    def _of_layers(self, one: int, two: int) -> np.ndarray:
        total = self._given.total(self._widths)
        parts = [self._change(self._layer(place)) for place in dict.fromkeys((one, two))]
        return total + parts[0][:, None] + (parts[1] if one != two else 0.0)

    def _change(self, layer: int) -> np.ndarray:
        """Return what the cost changes by where a layer takes each of its columns."""
        prices = self._layers.all_prices[layer, : self._layers.counts[layer]]
        measure = self._costs.measure(layer, self._widths[None])[0]
        return (prices - prices[self._chosen[layer]]) @ measure
