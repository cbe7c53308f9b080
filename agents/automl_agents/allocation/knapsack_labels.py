"""Label setting: the exact part of the knapsack, group after group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl_agents.allocation.quadratic_costs import QuadraticCosts

MOST_LABELS = 600  # kept after each group; the solution is exact where no more are needed
MOST_WIDTHS = 32  # of a group that labels tell apart; exchanges know all of them
NEIGHBOURS = 12  # how many steps up and down an exchange tries where there are many widths
WHOLE = 0.5  # costs are whole numbers; what they exceed the limit by in floats is less


@dataclass(frozen=True)
class Options:
    """A group's allowed widths, ascending, and their losses; both (W,)."""

    widths: np.ndarray
    losses: np.ndarray

    def thinned(self, around: float) -> "Options":
        """Keep MOST_WIDTHS of them: half next to a width, the others spread evenly."""
        count = len(self.widths)
        if count <= MOST_WIDTHS:
            return self
        place = int(np.searchsorted(self.widths, around))
        near = np.arange(place - MOST_WIDTHS // 4, place + MOST_WIDTHS // 4)
        spread = np.linspace(0, count - 1, MOST_WIDTHS // 2).round().astype(int)
        places = np.unique(np.concatenate([np.clip(near, 0, count - 1), spread, [place]]))
        return Options(self.widths[places], self.losses[places])

    def near(self, width: float) -> "Options":
        """Keep what an exchange tries around a width."""
        if len(self.widths) <= MOST_WIDTHS:
            return self
        place = int(np.searchsorted(self.widths, width))
        part = slice(max(place - NEIGHBOURS, 0), place + NEIGHBOURS + 1)
        return Options(self.widths[part], self.losses[part])

    def loss(self, width: float) -> float:
        """Return the loss of one of the widths."""
        return float(self.losses[np.searchsorted(self.widths, width)])


@dataclass(frozen=True)
class _Labels:
    """K partial decisions: widths (K, G) of which the first few are decided, loss, cost (K,)."""

    widths: np.ndarray
    losses: np.ndarray
    costs: np.ndarray

    def take(self, places: np.ndarray) -> "_Labels":
        return _Labels(self.widths[places], self.losses[places], self.costs[places])


@dataclass(frozen=True)
class LabelSetting:
    """Costs, limit and each group's options."""

    costs: QuadraticCosts
    limit: float
    options: Sequence[Options]

    def solution(self, incumbent: np.ndarray, price: float) -> np.ndarray:
        """Decide group after group, keeping the labels that no other one dominates.

        Where they are too many, those are kept that have the least loss + price * cost if the
        undecided groups take the incumbent's widths.
        """
        groups = len(self.options)
        smallest = np.array([each.widths[0] for each in self.options])
        labels = _Labels(np.zeros((1, groups)), np.zeros(1), np.array([self.costs.constant]))
        for group in range(groups):
            options = self.options[group].thinned(incumbent[group])
            labels = self._extended(labels, group, options, smallest, incumbent, price)
            labels = labels.take(_undominated(labels, self._meets_undecided(group)))
            if len(labels.losses) > MOST_LABELS:
                promise = labels.losses + price * (
                    labels.costs + self._rest(labels.widths, group, incumbent)
                )
                labels = labels.take(np.argpartition(promise, MOST_LABELS)[:MOST_LABELS])
        return labels.widths[np.argmin(labels.losses)]

    def _extended(
        self,
        labels: _Labels,
        group: int,
        options: Options,
        smallest: np.ndarray,
        incumbent: np.ndarray,
        price: float,
    ) -> _Labels:
        """Decide one more group: every label with every option that can still meet the limit."""
        count = len(options.widths)
        costs = labels.costs[:, None] + self.costs.alone(group, labels.widths, options.widths)
        losses = labels.losses[:, None] + options.losses

        def total(rest: np.ndarray) -> np.ndarray:
            """Return each cost once the groups behind take `rest`."""
            slope = self.costs.pairs[group, group + 1 :] @ rest[group + 1 :]
            before = self._rest(labels.widths, group, rest)
            return costs + before[:, None] + slope * options.widths

        places = np.flatnonzero(total(smallest) <= self.limit + WHOLE)
        if len(places) > 4 * MOST_LABELS:
            promise = (losses + price * total(incumbent)).ravel()[places]
            places = places[np.argpartition(promise, 4 * MOST_LABELS)[: 4 * MOST_LABELS]]
        widths = labels.widths[places // count]
        widths[:, group] = options.widths[places % count]
        return _Labels(widths, losses.ravel()[places], costs.ravel()[places])

    def _rest(self, decided: np.ndarray, group: int, widths: np.ndarray) -> np.ndarray:
        """Return what the groups behind `group` add to costs (K,) if they take `widths`.

        Args:
            decided: (K, G), 0 where a group is undecided.
            group: the last decided one.
            widths: (G,).
        """
        rest = np.where(np.arange(len(widths)) > group, widths, 0.0)
        return self.costs.total(rest) - self.costs.constant + decided @ (self.costs.pairs @ rest)

    def _meets_undecided(self, group: int) -> np.ndarray:
        """Return the decided groups, up to `group`, whose width a later group's cost depends on."""
        return np.flatnonzero(self.costs.pairs[: group + 1, group + 1 :].any(axis=1))


def _undominated(labels: _Labels, frontier: np.ndarray) -> np.ndarray:
    """Return the places of labels than which none is better, of those equal on the frontier.

    Better is: no more expensive, and of lower loss.
    """
    # A number for each combination of the frontier's widths; 64 bits make a clash unthinkable.
    factors = np.random.default_rng(0).integers(1, 2**63, len(frontier), dtype=np.uint64) | 1
    keys = (labels.widths[:, frontier].astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    order = np.lexsort((labels.losses, labels.costs, keys))
    starts = np.concatenate([[False], np.diff(keys[order]) != 0])
    # Each key's losses lie below those before it, so that one running minimum serves all.
    height = 2.0 * float(np.ptp(labels.losses)) + 1.0
    losses = labels.losses[order] - height * np.cumsum(starts)
    lowest_before = np.concatenate([[np.inf], np.minimum.accumulate(losses)[:-1]])
    return order[losses < lowest_before]
