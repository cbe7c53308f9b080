"""The decisions of a search and their allowed values; keeps proposals inside a budget."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np

from automl_compress.core.budget import Budget
from automl_compress.core.errors import BudgetUnreachable, InvalidInput
from automl_compress.core.graph import LayerGraph
from automl_compress.core.policy import Policy
from automl_compress.core.protocols import CostModel

BISECTION_STEPS = 40  # leaves the common multiplier exact to 1e-12 of its range


@dataclass(frozen=True, slots=True)
class SpaceOptions:
    """How a space is cut out of a graph.

    max_sparsity: the largest fraction of a group that may be removed, in [0, 1).
    round_to: kept channels are multiples of this, or the whole group; 1, 2, 4, 8 or 16.
    skip: groups that stay whole, by name.
    fix: sparsity of groups that are not searched, by name.
    """

    max_sparsity: float = 0.9
    round_to: int = 1
    skip: tuple[str, ...] = ()
    fix: tuple[tuple[str, float], ...] = ()
    criterion: str = "l1"

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not 0.0 <= self.max_sparsity < 1.0:
            raise InvalidInput(
                f"max_sparsity is {self.max_sparsity!r}; give a number from 0 to below 1"
            )
        if self.round_to not in (1, 2, 4, 8, 16):
            raise InvalidInput(f"round_to is {self.round_to!r}; choose 1, 2, 4, 8 or 16")


class CompressionSpace:
    """Allowed kept-channel counts of every group, and repair to a budget.

    Proposals are *keep ratios*: one float for each group, the fraction of its channels that
    stays, in the graph's order. Every method that returns widths returns allowed ones.
    """

    def __init__(self, graph: LayerGraph, costs: CostModel, options: SpaceOptions) -> None:
        """Lay out the allowed widths.

        Raises:
            InvalidInput: options name groups that the graph does not have, or the graph has
                no group that could be cut.
        """
        self.graph, self.costs, self.options = graph, costs, options
        fixed = dict(options.fix)
        _check_names(graph, [*options.skip, *fixed])
        if not graph.groups:
            raise InvalidInput(
                "this network has no group of channels that can be cut: "
                + "; ".join(obstacle.reason for obstacle in graph.obstacles[:5])
            )
        self.allowed: tuple[tuple[int, ...], ...] = tuple(
            _allowed_widths(group.channels, group.name, options, fixed) for group in graph.groups
        )
        self.full = costs.cost(graph.full_widths)

    @cached_property
    def smallest(self) -> tuple[int, ...]:
        """The widths of the cheapest policy."""
        return tuple(widths[0] for widths in self.allowed)

    @cached_property
    def largest(self) -> tuple[int, ...]:
        """The widths of the most expensive policy (fixed groups stay fixed)."""
        return tuple(widths[-1] for widths in self.allowed)

    def check_reachable(self, budget: Budget) -> None:
        """Raise BudgetUnreachable if even the cheapest policy costs too much."""
        cheapest = self.costs.cost(self.smallest)
        if not budget.allows(cheapest, self.full):
            raise BudgetUnreachable(
                budget.metric,
                budget.limit(self.full),
                cheapest.of(budget.metric),
                self.full.of(budget.metric),
            )

    def within(self, widths: Sequence[int], budget: Budget) -> bool:
        """Say whether a network of these widths is within the budget."""
        return budget.allows(self.costs.cost(widths), self.full)

    def policy(self, widths: Sequence[int]) -> Policy:
        """Make the policy of these widths, under the space's criterion."""
        return Policy.from_widths(self.graph, widths, self.options.criterion)

    def clip(self, keep: Sequence[float]) -> tuple[int, ...]:
        """Return the nearest allowed widths to these keep ratios, whatever they cost."""
        return tuple(
            _nearest(widths, ratio * group.channels)
            for widths, ratio, group in zip(self.allowed, keep, self.graph.groups, strict=True)
        )

    def feasible(self, prefix: Sequence[int], budget: Budget) -> bool:
        """Say whether groups after these first widths can still be cut within the budget."""
        return self.within([*prefix, *self.smallest[len(prefix) :]], budget)

    def largest_feasible(self, decided: Mapping[int, int], group: int, budget: Budget) -> int:
        """Return the largest allowed width of `group` that leaves the budget reachable.

        Args:
            decided: widths already chosen, by group index.
            group: index of the group to decide now.
            budget: what the finished network may cost.

        Groups not decided count with their smallest width (AMC, algorithm 1, with a_max as
        the space's largest sparsity; coupled layers are counted together). Where even the
        smallest width is too much, the smallest is returned.
        """
        widths = list(self.smallest)
        for index, width in decided.items():
            widths[index] = width
        allowed = self.allowed[group]

        def is_over(width: int) -> bool:
            widths[group] = width
            return not self.within(widths, budget)

        fitting = bisect_left(allowed, True, key=is_over)
        return allowed[max(fitting - 1, 0)]

    def repair(self, keep: Sequence[float], budget: Budget) -> tuple[int, ...]:
        """Return the nearest widths within the budget: only proposals over it are shrunk.

        Raises:
            BudgetUnreachable: no policy of this space is within the budget.
        """
        widths = self.clip(keep)
        return widths if self.within(widths, budget) else self.project(keep, budget)

    def project(self, keep: Sequence[float], budget: Budget) -> tuple[int, ...]:
        """Scale keep ratios by one common multiplier until they meet the budget.

        The multiplier is bisected (methods.md 6.1); then single groups grow by one step, those
        that rounding treated worst first, as long as the budget holds. The result is within
        the budget and no single group can grow.

        Raises:
            BudgetUnreachable: no policy of this space is within the budget.
        """
        self.check_reachable(budget)
        wanted = np.maximum(np.asarray(keep, dtype=np.float64), 1e-6) * self.graph.full_widths
        low, high = 0.0, float(np.max(np.asarray(self.largest) / wanted))
        for _ in range(BISECTION_STEPS):
            middle = (low + high) / 2
            if self.within(self._floor(middle * wanted), budget):
                low = middle
            else:
                high = middle
        return self._grow(self._floor(low * wanted), low * wanted, budget)

    def uniform(self, budget: Budget) -> tuple[int, ...]:
        """Return the widths of one common keep ratio that meets the budget."""
        return self.project([1.0] * len(self.graph.groups), budget)

    def sample(self, rng: np.random.Generator, budget: Budget) -> tuple[int, ...]:
        """Draw uniform keep ratios and scale them to the budget."""
        lowest = np.asarray(self.smallest) / self.graph.full_widths
        return self.project(rng.uniform(lowest, 1.0).tolist(), budget)

    def _floor(self, wanted: Iterable[float]) -> list[int]:
        return [
            widths[max(bisect_right(widths, amount + 1e-9) - 1, 0)]
            for widths, amount in zip(self.allowed, wanted, strict=True)
        ]

    def _grow(
        self, widths: list[int], wanted: Sequence[float] | np.ndarray, budget: Budget
    ) -> tuple[int, ...]:
        def shortfall(index: int) -> float:
            return (widths[index] - wanted[index]) / self.graph.full_widths[index]

        has_grown = True
        while has_grown:
            has_grown = False
            for index in sorted(range(len(widths)), key=shortfall):
                before, allowed = widths[index], self.allowed[index]
                widths[index] = allowed[min(bisect_right(allowed, before), len(allowed) - 1)]
                if self.within(widths, budget):
                    has_grown |= widths[index] > before
                else:
                    widths[index] = before
        return tuple(widths)


def _check_names(graph: LayerGraph, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in graph.group_index]
    if unknown:
        raise InvalidInput(
            f"the network has no groups {unknown}; its groups are: {list(graph.group_index)}"
        )


def _allowed_widths(
    channels: int, name: str, options: SpaceOptions, fixed: Mapping[str, float]
) -> tuple[int, ...]:
    if name in options.skip:
        return (channels,)
    step = options.round_to
    smallest = max(
        1, ceil(channels * (1.0 - options.max_sparsity) - 1e-9)
    )  # 3.0000000000000004 is 3
    if name in fixed:
        smallest = max(1, round(channels * (1.0 - fixed[name])))
        return (min(channels, -(-smallest // step) * step),)
    first = min(channels, -(-smallest // step) * step)
    return tuple(sorted({*range(first, channels, step), channels}))


def _nearest(widths: Sequence[int], amount: float) -> int:
    place = bisect_left(widths, amount)
    candidates = widths[max(place - 1, 0) : place + 1]
    return min(candidates, key=lambda width: abs(width - amount))
