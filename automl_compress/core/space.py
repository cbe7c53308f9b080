"""The decisions of a search and their allowed values; keeps proposals inside a budget."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from automl_compress.core.budget import Budget
from automl_compress.core.decision import WHOLE_DENSITY, Decision, DecisionKind, decisions_of
from automl_compress.core.errors import BudgetUnreachable, InvalidInput
from automl_compress.core.graph import LayerGraph
from automl_compress.core.policy import FLOAT_BITS, LayerChoice, Policy
from automl_compress.core.protocols import CostModel
from automl_compress.core.space_options import SpaceOptions

BISECTION_STEPS = 40  # leaves the common multiplier exact to 1e-12 of its range
MOST_NAMED = 20  # of the groups that a network does not have, in one message


class CompressionSpace:
    """The decisions of a search, their allowed values, and repair to a budget.

    A *setting* holds one value for each decision: kept channels of every group in the graph's
    order, then what is decided for single layers. Proposals are *shares*: one float in [0, 1] for
    each decision. The share of a width or density is the fraction that stays; bits count by
    their place among the allowed ones, so that the share of the k-th of n is k / n. Every method
    that returns a setting returns allowed values.
    """

    def __init__(
        self,
        graph: LayerGraph,
        costs: CostModel,
        options: SpaceOptions,
        decisions: Sequence[Decision] | None = None,
        call_ns: float = 0.0,
    ) -> None:
        """Lay out the decisions.

        Args:
            graph: of the uncut network.
            costs: of settings of these decisions.
            options: what may be decided.
            decisions: those of the options with some values left out; None allows all.
            call_ns: what a call of any network takes of its latency.

        Raises:
            InvalidInput: options name groups or layers that the graph does not have, or nothing
                of the graph can be decided.
        """
        self.graph, self.costs, self.options, self._call_ns = graph, costs, options, call_ns
        _check_names(graph, options)
        self.decisions = tuple(decisions_of(graph, options) if decisions is None else decisions)
        if not self.decisions:
            raise InvalidInput(
                "this network has no group of channels that can be cut: "
                + "; ".join(obstacle.reason for obstacle in graph.obstacles[:5])
            )
        self.allowed: tuple[tuple[int, ...], ...] = tuple(
            decision.allowed for decision in self.decisions
        )
        self.full = costs.full
        self._full_amounts = np.array([each.full_amount for each in self.decisions])
        self._place = {(each.kind, each.target): i for i, each in enumerate(self.decisions)}

    @cached_property
    def smallest(self) -> tuple[int, ...]:
        """The setting of the cheapest policy."""
        return tuple(widths[0] for widths in self.allowed)

    @cached_property
    def largest(self) -> tuple[int, ...]:
        """The setting of the most expensive policy (what is fixed stays fixed)."""
        return tuple(widths[-1] for widths in self.allowed)

    def narrowed(self, decisions: Sequence[Decision]) -> "CompressionSpace":
        """Return the part of this space that is left where decisions allow fewer values."""
        return CompressionSpace(self.graph, self.costs, self.options, decisions, self._call_ns)

    def __contains__(self, setting: Sequence[int]) -> bool:
        """Say whether every value of a setting is an allowed one."""
        return all(value in each for value, each in zip(setting, self.allowed, strict=True))

    def check_reachable(self, budget: Budget) -> None:
        """Raise BudgetUnreachable if even the cheapest policy costs too much."""
        cheapest = self.costs.cost(self.smallest)
        if not budget.allows(cheapest, self.full):
            raise BudgetUnreachable(
                budget.metric,
                budget.limit(self.full),
                cheapest.of(budget.metric),
                self.full.of(budget.metric),
                self._call_ns if budget.metric == "latency_ns" else 0.0,
            )

    def within(self, setting: Sequence[int], budget: Budget) -> bool:
        """Say whether a network of this setting is within the budget."""
        return budget.allows(self.costs.cost(setting), self.full)

    def policy(self, setting: Sequence[int]) -> Policy:
        """Make the policy of a setting, under the space's criterion and quantiser."""
        groups = len(self.graph.groups)
        policy = Policy.from_widths(self.graph, setting[:groups], self.options.criterion)
        if groups == len(self.decisions):
            return policy
        layers = (self._layer_choice(layer.name, setting) for layer in self.graph.layers)
        return replace(policy, layers=tuple(each for each in layers if not each.is_untouched))

    def setting(self, policy: Policy) -> tuple[int, ...]:
        """Return the value of each decision that a policy takes.

        Raises:
            PolicyMismatch: the policy was made for another network.
        """
        widths = policy.widths(self.graph)
        found = [decision.full for decision in self.decisions]
        found[: len(widths)] = widths
        for choice in policy.layers:
            for kind, value in (
                ("density", round(WHOLE_DENSITY * (1.0 - choice.sparsity))),
                ("weight_bits", choice.weight_bits),
                ("activation_bits", choice.activation_bits),
            ):
                place = self._place.get((kind, choice.layer))
                if place is not None:
                    found[place] = value
        return tuple(found)

    def shares(self, setting: Sequence[int]) -> np.ndarray:
        """Return the share of each value of a setting; float64 (decisions,)."""
        return np.asarray(self._amounts(setting), dtype=np.float64) / self._full_amounts

    def clip(self, shares: Sequence[float]) -> tuple[int, ...]:
        """Return the allowed values nearest to these shares, whatever they cost."""
        return tuple(
            decision.allowed[_nearest(decision.amounts, share * decision.full_amount)]
            for decision, share in zip(self.decisions, shares, strict=True)
        )

    def feasible(self, prefix: Sequence[int], budget: Budget) -> bool:
        """Say whether decisions after these first ones can still be taken within the budget."""
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

    def repair(self, shares: Sequence[float], budget: Budget) -> tuple[int, ...]:
        """Return the nearest setting within the budget: only proposals over it are shrunk.

        Raises:
            BudgetUnreachable: no policy of this space is within the budget.
        """
        setting = self.clip(shares)
        return setting if self.within(setting, budget) else self.project(shares, budget)

    def project(self, shares: Sequence[float], budget: Budget) -> tuple[int, ...]:
        """Scale shares by one common multiplier until they meet the budget.

        The multiplier is bisected (methods.md 6.1); then single decisions grow by one step, those
        that rounding treated worst first, as long as the budget holds. The result is within
        the budget and no single decision can grow.

        Raises:
            BudgetUnreachable: no policy of this space is within the budget.
        """
        self.check_reachable(budget)
        wanted = np.maximum(np.asarray(shares, dtype=np.float64), 1e-6) * self._full_amounts
        low, high = 0.0, float(np.max(np.asarray(self._amounts(self.largest)) / wanted))
        for _ in range(BISECTION_STEPS):
            middle = (low + high) / 2
            if self.within(self._floor(middle * wanted), budget):
                low = middle
            else:
                high = middle
        return self._grow(self._floor(low * wanted), low * wanted, budget)

    def uniform(self, budget: Budget) -> tuple[int, ...]:
        """Return the setting of one common share that meets the budget."""
        return self.project([1.0] * len(self.decisions), budget)

    def sample(self, rng: np.random.Generator, budget: Budget) -> tuple[int, ...]:
        """Draw uniform shares and scale them to the budget."""
        return self.project(rng.uniform(self.shares(self.smallest), 1.0).tolist(), budget)

    def _layer_choice(self, layer: str, setting: Sequence[int]) -> LayerChoice:
        def value(kind: DecisionKind, untouched: int) -> int:
            place = self._place.get((kind, layer))
            return untouched if place is None else setting[place]

        return LayerChoice(
            layer,
            sparsity=1.0 - value("density", WHOLE_DENSITY) / WHOLE_DENSITY,
            weight_bits=value("weight_bits", FLOAT_BITS),
            activation_bits=value("activation_bits", FLOAT_BITS),
            quantiser=self.options.quantiser,
            weight_scales=self.options.weight_scales,
        )

    def _amounts(self, setting: Sequence[int]) -> list[int]:
        return [
            decision.allowed.index(value) + 1 if decision.is_ordinal else value
            for decision, value in zip(self.decisions, setting, strict=True)
        ]

    def _floor(self, wanted: Iterable[float]) -> list[int]:
        return [
            decision.allowed[max(bisect_right(decision.amounts, amount + 1e-9) - 1, 0)]
            for decision, amount in zip(self.decisions, wanted, strict=True)
        ]

    def _grow(
        self, setting: list[int], wanted: Sequence[float] | np.ndarray, budget: Budget
    ) -> tuple[int, ...]:
        def shortfall(index: int) -> float:
            decision = self.decisions[index]
            amount = decision.amounts[decision.allowed.index(setting[index])]
            return (amount - wanted[index]) / decision.full_amount

        has_grown = True
        while has_grown:
            has_grown = False
            for index in sorted(range(len(setting)), key=shortfall):
                before, allowed = setting[index], self.allowed[index]
                setting[index] = allowed[min(bisect_right(allowed, before), len(allowed) - 1)]
                if self.within(setting, budget):
                    has_grown |= setting[index] > before
                else:
                    setting[index] = before
        return tuple(setting)


def _check_names(graph: LayerGraph, options: SpaceOptions) -> None:
    known = dict.fromkeys(graph.group_index)
    if options.has_layer_decisions:
        known |= dict.fromkeys(layer.name for layer in graph.layers if layer.kind != "other")
    fixed = [name for name, _ in options.fix]
    unknown = [name for name in options.skip if name not in known]
    unknown += [name for name in fixed if name not in graph.group_index]
    if unknown:
        more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
        raise InvalidInput(
            f"the network has no groups {unknown[:MOST_NAMED]}{more}; its groups are: "
            f"{list(graph.group_index)}"
        )


def _nearest(amounts: Sequence[int], amount: float) -> int:
    """Return the place of the amount nearest to this one."""
    place = bisect_left(amounts, amount)
    candidates = range(max(place - 1, 0), min(place + 1, len(amounts)))
    return min(candidates, key=lambda each: abs(amounts[each] - amount))
