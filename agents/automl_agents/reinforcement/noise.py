"""Exploration around the actor's proposal."""

from statistics import NormalDist

import numpy as np

STANDARD = NormalDist()


def truncated_normal(
    rng: np.random.Generator, mean: float, sigma: float, lowest: float, highest: float
) -> float:
    """Draw from a normal distribution that is cut off, not clipped, at both ends.

    Clipped noise would pile up on the bounds.

    Args:
        rng: one number is drawn from it.
        mean: moved into the interval first.
        sigma: standard deviation before the cut; at least 0.
        lowest: smallest possible value.
        highest: largest possible value, at least `lowest`.

    Source: AMC, lib/agent.py, `sample_from_truncated_normal_distribution`; by inversion here.
    """
    place = rng.uniform()
    mean = min(max(mean, lowest), highest)
    if sigma <= 0.0 or highest <= lowest:
        return mean
    low, high = STANDARD.cdf((lowest - mean) / sigma), STANDARD.cdf((highest - mean) / sigma)
    # The quantile function is finite only inside (0, 1).
    quantile = min(max(low + place * (high - low), 1e-12), 1.0 - 1e-12)
    return min(max(mean + sigma * STANDARD.inv_cdf(quantile), lowest), highest)
