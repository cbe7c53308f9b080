"""Masks of a space's filters, one bit each, kept to the space and the budget."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from automl_compress.core import Budget, CompressionSpace, Policy

BY_SEARCH = "search"  # in the place of a criterion's name
Mask = np.ndarray  # bool (F,): filters of the free groups, one group after the other; 1 keeps


class FilterMasks:
    """The masks of one space under one budget.

    F is the number of filters in the groups that have a choice; a bit stands for a channel of
    its group, which coupled layers share. Fixed and skipped groups have no bits.

    filters: F.
    """

    def __init__(
        self,
        space: CompressionSpace,
        budget: Budget,
        importance: Sequence[Sequence[float]] | None,
        ranking_share: float,
    ) -> None:
        """Rank the channels.

        Args:
            space: what a policy may decide.
            budget: what a policy may cost.
            importance: a score of each channel of each group, higher is more important; None
                where nothing is known, and chance alone chooses between channels.
            ranking_share: from 0 to 1, how much of that choice the ranking makes.
        """
        self._space, self._budget = space, budget
        self._is_ranked, self._share = importance is not None, ranking_share
        self._full = np.asarray(space.graph.full_widths)
        self._slices: dict[int, slice] = {}
        start, ranks = 0, [np.zeros(0)]
        for group, allowed in enumerate(space.allowed[: len(self._full)]):
            if len(allowed) > 1:
                channels = int(self._full[group])
                self._slices[group] = slice(start, start + channels)
                scores = np.zeros(channels) if importance is None else importance[group]
                ranks.append(_ranks(np.asarray(scores, dtype=np.float64)))
                start += channels
        self.filters = start
        self._ranks = np.concatenate(ranks)  # (F,) from 0, the least important of its group, to 1

    def of_widths(self, widths: Sequence[int], rng: np.random.Generator, share: float) -> Mask:
        """Return a mask with so many bits in each group.

        Args:
            widths: (G,), allowed ones.
            rng: chooses between channels where the ranking does not.
            share: as `ranking_share`, for this mask; without a ranking, chance chooses.
        """
        return self._with_counts(np.zeros(self.filters, dtype=bool), widths, rng, share)

    def random(self, rng: np.random.Generator) -> Mask:
        """Draw widths at the budget, and channels for them."""
        return self.of_widths(self._space.sample(rng, self._budget), rng, self._share)

    def repaired(self, mask: Mask, rng: np.random.Generator) -> Mask:
        """Return the mask at the budget.

        The bits of each group are counted, and the counts scaled to the budget as keep ratios
        are (`CompressionSpace.project`). Groups that lose bits lose those of the lowest rank,
        groups that gain bits gain those of the highest; to ranks, chance is added.
        """
        keep = np.ones(len(self._full))
        for group, place in self._slices.items():
            keep[group] = mask[place].mean()
        widths = self._space.project(keep.tolist(), self._budget)
        return self._with_counts(mask, widths, rng, self._share)

    def resized(self, mask: Mask, widths: Sequence[int], rng: np.random.Generator) -> Mask:
        """Return the mask with so many bits in each group, (G,); the ranking says which change."""
        return self._with_counts(mask, widths, rng, share=1.0)

    def exchanged(self, mask: Mask, rng: np.random.Generator, count: int, most: int) -> np.ndarray:
        """Draw changes that give kept filters for others of their groups.

        Args:
            mask: what is changed; every group keeps as many filters.
            rng: draws the groups, and the filters in them.
            count: how many are drawn; those that would move one filter twice are left out.
            most: how many filters one of them exchanges at the most.

        Returns:
            int8 (N, F), N <= count: 1 for a filter that comes, -1 for one that leaves. N is 0
            where no group has lost a filter.
        """
        cut = [place for place in self._slices.values() if not mask[place].all()]
        changes = np.zeros((count if cut else 0, self.filters), dtype=np.int8)
        if not cut:
            return changes
        group = rng.integers(len(cut), size=(count, most))
        is_made = np.arange(most) < rng.integers(1, most + 1, count)[:, None]
        rows = np.nonzero(is_made)[0]
        for is_kept, step in ((True, -1), (False, 1)):
            places = [place.start + np.flatnonzero(mask[place] == is_kept) for place in cut]
            lengths = np.array([len(each) for each in places])
            starts = np.cumsum(lengths) - lengths
            chosen = starts[group] + (rng.random((count, most)) * lengths[group]).astype(int)
            np.add.at(changes, (rows, np.concatenate(places)[chosen[is_made]]), step)
        return changes[(np.abs(changes) <= 1).all(axis=1)]

    def policy(self, mask: Mask) -> Policy:
        """Return the policy that keeps these channels; mask at the budget."""
        widths = list(self._space.smallest)
        for group, place in self._slices.items():
            widths[group] = int(mask[place].sum())
        return self.applied(self._space.policy(widths), mask)

    def applied(self, policy: Policy, mask: Mask) -> Policy:
        """Return the policy, of the mask's widths, with these channels written out."""
        choices = list(policy.choices)
        for group, place in self._slices.items():
            kept = tuple(np.flatnonzero(mask[place]).tolist())
            choices[group] = replace(choices[group], kept=kept, criterion=BY_SEARCH)
        return replace(policy, choices=tuple(choices))

    def _with_counts(
        self, mask: Mask, widths: Sequence[int], rng: np.random.Generator, share: float
    ) -> Mask:
        share = share if self._is_ranked else 0.0
        rank_now = share * self._ranks + (1.0 - share) * rng.random(self.filters)
        changed = mask.copy()
        for group, place in self._slices.items():
            # Kept channels come before cleared ones, each by rank: the first `width` stay or come.
            order = np.argsort(-(rank_now[place] + 2.0 * mask[place]), kind="stable")
            changed[place] = False
            changed[place.start + order[: widths[group]]] = True
        return changed


def _ranks(scores: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.linspace(0.0, 1.0, len(scores))
    return ranks
