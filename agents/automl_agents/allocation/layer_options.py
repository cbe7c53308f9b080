"""What every layer may become: combinations of its decisions that no other one dominates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl_agents.allocation.layer_costs import LayerCosts, LayerTable
from automl_compress.core import CompressionSpace


@dataclass(frozen=True)
class LayerOptions:
    """The combinations of L layers, S at most; where one has fewer, the loss is infinite.

    losses: (L, S). all_prices: (L, S, 3), see `LayerTable`.
    rows: of each combination in its layer's table, (L, S).
    """

    tables: tuple[LayerTable, ...]
    losses: np.ndarray
    all_prices: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(
        cls, costs: LayerCosts, space: CompressionSpace, losses: Sequence[np.ndarray]
    ) -> "LayerOptions":
        """Add up the losses of combinations, and drop what costs and loses more than another.

        Args:
            costs: whose tables are used.
            space: with the allowed values.
            losses: of each decision at each of its allowed values.
        """
        largest = np.asarray(space.largest[: len(space.graph.groups)], dtype=np.float64)
        measures = costs.measures(largest[None])[0]  # (L, 3)
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        for table, measure in zip(costs.tables, measures, strict=True):
            total = np.zeros(len(table.values))
            for place, values in zip(table.places, table.values.T, strict=True):
                total += losses[place][np.searchsorted(space.allowed[place], values)]
            rows = _undominated(table.prices @ measure, total)
            kept.append((rows, total[rows]))
        most = max((len(rows) for rows, _ in kept), default=1)
        shape = (len(kept), most)
        all_losses, all_rows = np.full(shape, np.inf), np.zeros(shape, dtype=np.int64)
        all_prices = np.zeros((*shape, 3))
        for layer, (rows, total) in enumerate(kept):
            all_losses[layer, : len(rows)], all_rows[layer, : len(rows)] = total, rows
            all_prices[layer, : len(rows)] = costs.tables[layer].prices[rows]
        return cls(costs.tables, all_losses, all_prices, all_rows)

    @property
    def counts(self) -> np.ndarray:
        """How many combinations each layer has, (L,); the last one is the largest."""
        return np.isfinite(self.losses).sum(axis=1)

    def prices(self, chosen: np.ndarray) -> np.ndarray:
        """Return the prices of one combination for each layer: (..., L) to (..., L, 3)."""
        return self.all_prices[np.arange(len(self.losses)), chosen]

    def loss(self, chosen: np.ndarray) -> float:
        """Return the total loss of one combination for each layer, (L,)."""
        return float(self.losses[np.arange(len(self.losses)), chosen].sum())

    def values(self, chosen: np.ndarray) -> dict[int, int]:
        """Return the value of each decision, by its place in a setting."""
        found: dict[int, int] = {}
        for layer, (table, column) in enumerate(zip(self.tables, chosen, strict=True)):
            values = table.values[self.rows[layer, column]]
            found |= dict(zip(table.places, values.tolist(), strict=True))
        return found


def _undominated(costs: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return the rows that cost less than any of lower loss, the cheapest first."""
    order = np.lexsort((losses, costs))
    lowest = np.concatenate([[np.inf], np.minimum.accumulate(losses[order])[:-1]])
    return order[losses[order] < lowest]
