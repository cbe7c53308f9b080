"""What each filter is worth, learnt from exchanges: a Bayesian linear model of many unknowns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

PRIOR = 0.05  # standard deviation of a filter's value before anything is known, in nats
NOISE = 0.02  # of a measured gain: exchanges are not independent of one another
MOST_MEASUREMENTS = 400  # the newest; beyond, a draw takes longer than a screening is worth


class FilterValues:
    """The values of F filters; what an exchange gains is the sum of those that come, less others.

    There are more filters than measurements, so everything is computed in the dual form, whose
    matrices are as large as the measurements are many.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 2.1;
    samples of the posterior by Matheron's rule (Wilson et al., ICML 2020, equation 10).
    """

    def __init__(self, filters: int) -> None:
        """Begin without measurements."""
        self._changes = np.zeros((0, filters))
        self._products = np.zeros((0, 0))  # of each pair of changes
        self._gains = np.zeros(0)

    def learn(self, change: np.ndarray, gain: float) -> None:
        """Take a measurement.

        Args:
            change: int8 (F,), 1 for a filter that came, -1 for one that left.
            gain: by how much the score rose.
        """
        newest = slice(-MOST_MEASUREMENTS, None)
        self._changes = np.vstack([self._changes, change[None]])[newest]
        self._gains = np.append(self._gains, gain)[newest]
        products = np.pad(self._products, (0, 1))[newest, newest]
        products[-1] = products[:, -1] = self._changes @ self._changes[-1]
        self._products = products

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the values of all filters, as likely as they are by now; float64 (F,)."""
        changes = self._changes
        drawn = rng.normal(0.0, PRIOR, changes.shape[1])
        if not len(changes):
            return drawn
        noise = rng.normal(0.0, NOISE, len(changes))
        covariance = PRIOR**2 * self._products + NOISE**2 * np.eye(len(changes))
        surprise = np.linalg.solve(covariance, self._gains - changes @ drawn - noise)
        return drawn + PRIOR**2 * changes.T @ surprise

    def to_json(self) -> list[Any]:
        """Return the measurements as a JSON array: who came, who left, what it gained."""
        return [
            [np.flatnonzero(change > 0).tolist(), np.flatnonzero(change < 0).tolist(), gain]
            for change, gain in zip(self._changes, self._gains.tolist(), strict=True)
        ]

    def restore(self, content: Sequence[Any]) -> None:
        """Take over what `to_json` returned."""
        self._changes = np.zeros((len(content), self._changes.shape[1]))
        for change, (come, left, _) in zip(self._changes, content, strict=True):
            change[come], change[left] = 1.0, -1.0
        self._gains = np.array([float(gain) for _, _, gain in content])
        self._products = self._changes @ self._changes.T
