"""The multiple-choice knapsack: values of least total loss within a budget.

Each decision takes one of its allowed values at a known loss, and losses add up. Costs do not: a
convolution's MACs are the product of its input's and its output's width, and its bytes that
times its bits. So the cost is taken as what it is (`LayerCosts`): a polynomial of second degree
in the widths, whose coefficients the layers' densities and bits decide. What is decided for one
layer is taken together, as one choice among all combinations that no other one dominates.

A price of the cost settles almost everything; then partial decisions (labels) are compared where
they agree on every width that still meets an undecided one. With inner channels alone there is
no such width, and the method is the knapsack of SPDY and OBC; along a chain there is one; where
many paths are concatenated there are many, and the labels that promise most are kept. Exchanges
between pairs of groups and layers come last.

Source: Frantar and Alistarh, SPDY (ICML 2022), section 3.2, and Frantar et al., OBC (NeurIPS
2022), for the knapsack over layer losses. They round costs to buckets; here costs are exact.
"""

from collections.abc import Sequence

import numpy as np

from automl_agents.allocation.growth import grown, shrunk
from automl_agents.allocation.knapsack_exchange import Exchanges
from automl_agents.allocation.knapsack_labels import LabelSetting, Options
from automl_agents.allocation.knapsack_prices import Solution, relaxed
from automl_agents.allocation.layer_costs import LayerCosts
from automl_agents.allocation.layer_options import LayerOptions
from automl_agents.decisions import open_decisions
from automl_compress.core import Budget, CompressionSpace

STARTS = 3  # solutions of different prices that are improved, where layers have a choice
TIE = 1e-9  # of the largest loss: among equal losses the larger value wins


class Allocator:
    """Solves the knapsack of one space and budget, for any losses."""

    def __init__(self, space: CompressionSpace, budget: Budget) -> None:
        """Take the cost model apart.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        space.check_reachable(budget)
        self.space, self.budget = space, budget
        self._open = open_decisions(space, budget.metric)
        self.costs = LayerCosts.of(space, budget.metric, self._open)
        self._limit = float(budget.limit(space.full))

    def solve(self, losses: Sequence[np.ndarray]) -> tuple[int, ...]:
        """Return the setting of least total loss within the budget.

        Args:
            losses: of each decision at each of its allowed values, in the space's order; at
                least 0, never rising with the value.

        Returns:
            A setting within the budget, of which no single value can grow: where widths alone
            are open the optimum, as far as the labels suffice; otherwise what labels and
            exchanges found.
        """
        scale = max((float(each[0]) for each in losses), default=0.0) or 1.0
        tilted = [_tilted(loss, scale) for loss in losses]
        groups = [
            Options(np.asarray(self.space.allowed[place], dtype=np.float64), tilted[place])
            for place in range(len(self.space.graph.groups))
        ]
        layers = LayerOptions.of(self.costs, self.space, tilted)
        starts, price = relaxed(self.costs, self._limit, groups, layers)

        def improved(start: Solution) -> Solution:
            given = self.costs.given(layers.prices(start.chosen))
            labelled = LabelSetting(given, self._limit, groups).solution(start.widths, price)
            best = min((Solution(labelled, start.chosen), start), key=loss)
            return Exchanges(self.costs, self._limit, groups, layers, best).best()

        def loss(solution: Solution) -> float:
            return solution.loss(groups, layers)

        # Labels know all widths; what they find for one start they find for another.
        count = STARTS if self.costs.tables else 1
        found = min((improved(start) for start in starts[:count]), key=loss)
        return self._settled(found, layers, tilted)

    def _settled(
        self, found: Solution, layers: LayerOptions, losses: Sequence[np.ndarray]
    ) -> tuple[int, ...]:
        """Return the setting at the budget by the cost model itself.

        That changes nothing where the polynomial is exact, as it is for widths.
        """
        setting = list(self.space.largest)
        setting[: len(found.widths)] = [int(width) for width in found.widths]
        for place, value in layers.values(found.chosen).items():
            setting[place] = value

        def loss_at(place: int, value: int) -> float:
            return float(losses[place][self.space.allowed[place].index(value)])

        within = shrunk(self.space, self.budget, setting, loss_at)
        return grown(self.space, self.budget, within, loss_at)


def _tilted(losses: np.ndarray, scale: float) -> np.ndarray:
    return losses + scale * TIE * np.linspace(1.0, 0.0, len(losses))
