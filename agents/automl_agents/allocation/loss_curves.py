"""Curves through measured losses: what each value of one decision costs in quality."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from automl_compress.core.decision import Decision

#: isotonic: the measured curve, its noise pooled until it never falls. convex: its slope never
#: falls either, which smooths more; curves over bits are convex by themselves.
Shape = Literal["isotonic", "convex"]
#: Loss at each of these positions, float64 (N,) to (N,): see `positions`.
Curve = Callable[[np.ndarray], np.ndarray]

FALL = 4.0  # factor by which a bit more reduces a loss: errors halve, losses grow with the square


def positions(decision: Decision) -> np.ndarray:
    """Return where each allowed value lies: bits as they are; others as sparsity.

    Sparsities are relative to the largest allowed value.
    """
    allowed = np.asarray(decision.allowed)
    return allowed if decision.is_ordinal else 1.0 - allowed / decision.allowed[-1]


def measured_curve(decision: Decision, points: Mapping[int, float], shape: Shape) -> Curve:
    """Return the curve of a decision through the losses at some of its values."""
    if decision.is_ordinal:
        return BitsCurve(points, decision.allowed[-1])
    largest = decision.allowed[-1]
    losses = {1.0 - value / largest: loss for value, loss in points.items()}
    return SparsityCurve(losses, float(positions(decision)[0]), shape)


def assumed_curve(decision: Decision, scale: float) -> Curve:
    """Return the curve where nothing is measured: of a loss that is `scale` at its largest.

    The largest is that of all channels or weights removed, or of one bit.
    """
    if decision.is_ordinal:
        return BitsCurve({1: scale}, decision.allowed[-1])
    return lambda sparsities: scale * sparsities**2


class SparsityCurve:
    """The monotone curve through (0, 0) and the pooled points, up to sparsity `end`."""

    def __init__(self, points: Mapping[float, float], end: float, shape: Shape) -> None:
        """Pool the points: losses by sparsity, at least one."""
        sparsities = np.array([0.0, *sorted(points)])
        pooled = isotonic_regression([points[each] for each in sorted(points)]).x
        losses = np.array([0.0, *pooled])
        if shape == "convex":
            steps = np.diff(sparsities)
            slopes = isotonic_regression(np.diff(losses) / steps, weights=steps).x
            losses = np.array([0.0, *np.cumsum(slopes * steps)])
        if sparsities[-1] < end - 1e-9:
            # Beyond what was measured a loss grows with the square of the sparsity, or on as
            # it did.
            last = sparsities[-1]
            slope = (losses[-1] - losses[-2]) / (sparsities[-1] - sparsities[-2])
            beyond = max(losses[-1] * (end / last) ** 2, losses[-1] + slope * (end - last))
            sparsities, losses = np.append(sparsities, end), np.append(losses, beyond)
        self._curve = PchipInterpolator(sparsities, losses)

    def __call__(self, sparsities: np.ndarray) -> np.ndarray:
        """Return the losses (N,) at sparsities (N,); constant behind the last point."""
        # Another group's curve may end earlier; a polynomial is not trusted behind its last knot.
        return self._curve(np.minimum(sparsities, self._curve.x[-1]))


class BitsCurve:
    """A loss whose logarithm is linear in the bits between measured points.

    Above the last point it falls by FALL a bit, and to 0 at the largest choice, against which
    losses are measured; below the first it grows as fast.
    """

    def __init__(self, points: Mapping[int, float], largest: int) -> None:
        """Pool the points: losses by bits, at least one, all below the largest choice."""
        self._bits = np.array(sorted(points), dtype=np.float64)
        self._largest = largest
        measured = [points[each] for each in sorted(points)]
        losses = isotonic_regression(measured, increasing=False).x
        for place in range(1, len(losses)):
            if losses[place] <= 0.0:  # too small for these images to show
                gap = self._bits[place] - self._bits[place - 1]
                losses[place] = losses[place - 1] * FALL**-gap
        self._losses = losses

    def __call__(self, bits: np.ndarray) -> np.ndarray:
        """Return the losses (N,) at bits (N,)."""
        if self._losses[0] <= 0.0:
            return np.zeros(len(bits))
        between = np.exp(np.interp(bits, self._bits, np.log(self._losses)))
        last, floor = self._bits[-1], FALL ** (self._bits[-1] - self._largest)
        above = self._losses[-1] * (FALL ** (last - bits) - floor) / (1.0 - floor)
        below = self._losses[0] * FALL ** (self._bits[0] - bits)
        found = np.where(bits > last, np.maximum(above, 0.0), between)
        return np.where(bits < self._bits[0], below, found)
