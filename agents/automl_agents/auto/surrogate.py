"""A Gaussian process that predicts what a policy scores from what others scored.

Inputs are logarithms of shares; a last one says whether a subset of the images gave the value, so
that cheap measurements teach without being mistaken for full ones. The kernel is a linear part
(what each decision costs, and how far subsets are off) plus a smooth one (what decisions do
together), with one length for all: with tens of measurements, a length for each predicted worse.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from automl_compress.core.errors import WrongState

LARGEST_FIT = 400  # measurements; the cubic cost of one fit stays below a tenth of a second
LEARNING_STEPS = 20  # of the kernel's parameters, each about three fits
SUBSET_SCALE = 0.5  # how large the last input is beside standardised ones


class Surrogate:
    """Predicts scores; `fit` again with every measurement.

    The kernel's parameters are learnt when the number of measurements has grown by a half
    since they were last; in between, only the measurements change.
    """

    def __init__(self) -> None:
        """Begin without measurements."""
        self._kernel: Any = (
            ConstantKernel(1.0, (1e-3, 1e3)) * DotProduct(1.0, (1e-2, 1e2))
            + ConstantKernel(1.0, (1e-3, 1e3)) * RBF(3.0, (0.1, 100.0))
            + WhiteKernel(0.05, (1e-4, 1.0))
        )
        self._learnt_from = 0
        self._regressor: GaussianProcessRegressor | None = None
        self._centre: np.ndarray = np.zeros(0)
        self._scale: np.ndarray = np.ones(0)

    def fit(self, inputs: np.ndarray, subset: np.ndarray, values: np.ndarray) -> None:
        """Learn from measurements.

        Args:
            inputs: (N, D), logarithms of shares of D decisions.
            subset: (N,), whether a subset of the images gave the value.
            values: (N,), higher is better.
        """
        newest = slice(-LARGEST_FIT, None)
        inputs, subset, values = inputs[newest], subset[newest], values[newest]
        self._centre = inputs.mean(axis=0)
        self._scale = np.maximum(inputs.std(axis=0), 1e-3)
        points = self._points(inputs, subset)
        if len(values) >= 1.5 * self._learnt_from:
            self._learn(points, values)
            self._learnt_from = len(values)
        self._regressor = self._fitted(points, values)

    @property
    def _fit_regressor(self) -> GaussianProcessRegressor:
        if self._regressor is None:
            raise WrongState("the surrogate was asked before it was fitted; fit it first")
        return self._regressor

    def means(self, inputs: np.ndarray) -> np.ndarray:
        """Return means (N,) of full scores at (N, D); cheaper than with deviations.

        Raises:
            WrongState: nothing was fitted yet.
        """
        found: Any = self._fit_regressor.predict(self._whole(inputs))
        return found

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations (N,) of full scores at (N, D).

        Raises:
            WrongState: nothing was fitted yet.
        """
        found: Any = self._fit_regressor.predict(self._whole(inputs), return_std=True)
        return found[0], found[1]

    def sample(self, inputs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (count, N) joint samples of the full scores at (N, D)."""
        found: Any = self._fit_regressor.predict(self._whole(inputs), return_cov=True)
        mean, covariance = found
        values, vectors = np.linalg.eigh(covariance)
        spread = vectors * np.sqrt(np.maximum(values, 0.0))
        return mean + rng.standard_normal((count, len(mean))) @ spread.T

    def to_json(self) -> dict[str, Any]:
        """Return what a restored surrogate needs beside the measurements."""
        return {"theta": self._kernel.theta.tolist(), "learnt_from": self._learnt_from}

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned; `fit` comes next."""
        self._kernel = self._kernel.clone_with_theta(np.asarray(content["theta"]))
        self._learnt_from = int(content["learnt_from"])

    def _whole(self, inputs: np.ndarray) -> np.ndarray:
        return self._points(inputs, np.zeros(len(inputs), dtype=bool))

    def _points(self, inputs: np.ndarray, subset: np.ndarray) -> np.ndarray:
        standard = (inputs - self._centre) / self._scale
        return np.column_stack([standard, SUBSET_SCALE * subset])

    def _fitted(self, points: np.ndarray, values: np.ndarray) -> GaussianProcessRegressor:
        keep: Any = None  # the stubs know no None
        regressor = GaussianProcessRegressor(self._kernel, optimizer=keep, normalize_y=True)
        return regressor.fit(points, values)

    def _learn(self, points: np.ndarray, values: np.ndarray) -> None:
        """Maximise the marginal likelihood; scikit-learn's own optimiser warns on flat ones."""
        regressor = self._fitted(points, values)

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            found: Any = regressor.log_marginal_likelihood(
                theta, eval_gradient=True, clone_kernel=False
            )
            value, gradient = found
            return -value, -gradient

        found = minimize(
            loss,
            self._kernel.theta,
            jac=True,
            bounds=self._kernel.bounds,
            method="L-BFGS-B",
            options={"maxiter": LEARNING_STEPS},
        )
        self._kernel = self._kernel.clone_with_theta(found.x)
