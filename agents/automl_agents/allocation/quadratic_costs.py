"""A budget's cost as a polynomial of second degree in the groups' widths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from automl_compress.core import CompressionSpace, Metric

_Cost = Callable[..., float]  # of the smallest widths with these (group, width) changed


@dataclass(frozen=True)
class QuadraticCosts:
    """constant + linear . w + square . w^2 + the sum over pairs g < h of pairs[g, h] w_g w_h.

    Exact for networks of convolutions and linear layers, whose tensors have at most two axes
    that groups cut; biases and depthwise filters are linear, and a convolution between two
    layers of one group is a square. G groups. Where the coefficients differ between P networks,
    each field has another axis of length P in front.
    """

    constant: float | np.ndarray
    linear: np.ndarray  # (G,)
    square: np.ndarray  # (G,)
    pairs: np.ndarray  # (G, G), symmetric, 0 on the diagonal

    @classmethod
    def of(cls, space: CompressionSpace, metric: Metric) -> "QuadraticCosts":
        """Find the coefficients from the cost of allowed widths: about G^2 / 2 calls.

        What is decided for single layers has its largest value.
        """
        groups = len(space.graph.groups)

        def cost(*changes: tuple[int, int]) -> float:
            setting = [*space.smallest[:groups], *space.largest[groups:]]
            for group, width in changes:
                setting[group] = width
            return float(space.costs.cost(setting).of(metric))

        low = np.asarray(space.smallest[:groups], float)
        high = np.asarray(space.largest[:groups], float)
        free = [group for group in range(groups) if high[group] > low[group]]
        base = cost()
        tops = {group: cost((group, space.largest[group])) for group in free}
        square, pairs = np.zeros(groups), np.zeros((groups, groups))
        for group in free:
            square[group] = _curvature(space, group, base, tops[group], cost)
        for one, two in combinations(free, 2):
            both = cost((one, space.largest[one]), (two, space.largest[two]))
            area = (high[one] - low[one]) * (high[two] - low[two])
            pairs[one, two] = pairs[two, one] = (both - tops[one] - tops[two] + base) / area
        linear = np.zeros(groups)
        for group in free:
            rise = (tops[group] - base) / (high[group] - low[group])
            linear[group] = rise - square[group] * (high[group] + low[group]) - pairs[group] @ low
        uncounted = cls(0.0, linear, square, pairs)
        return cls(base - uncounted.total(low), linear, square, pairs)

    def total(self, widths: np.ndarray) -> float:
        """Return the cost of widths (G,)."""
        mixed = 0.5 * widths @ self.pairs @ widths
        return float(self.constant + self.linear @ widths + self.square @ widths**2 + mixed)

    def totals(self, widths: np.ndarray) -> np.ndarray:
        """Return the costs (P,) of P networks of widths (P, G)."""
        mixed = 0.5 * (widths[:, None, :] @ self.pairs)[:, 0]
        return self.constant + np.sum((self.linear + self.square * widths + mixed) * widths, axis=1)

    def alone(self, group: int, widths: np.ndarray, options: np.ndarray) -> np.ndarray:
        """Return the part of the cost that one group decides, at each option for its width.

        Args:
            group: its own entries in `widths` do not matter.
            widths: of P networks, (P, G).
            options: (W,).

        Returns:
            (P, W).
        """
        met = np.sum(widths * self.pairs[..., group, :], axis=1)
        slopes = self.linear[..., group] + met  # (P,)
        squares = np.asarray(self.square[..., group])[..., None] * options**2
        return slopes[:, None] * options + squares


def _curvature(
    space: CompressionSpace, group: int, base: float, top: float, cost: "_Cost"
) -> float:
    """Return the coefficient of a group's squared width; 0 where only two widths are allowed."""
    allowed: Sequence[int] = space.allowed[group]
    if len(allowed) < 3:
        return 0.0
    low, middle, high = allowed[0], allowed[len(allowed) // 2], allowed[-1]
    between = cost((group, middle))
    return ((top - between) / (high - middle) - (between - base) / (middle - low)) / (high - low)
