"""A budget's cost as a polynomial in the widths whose coefficients the layers' bits decide.

What a layer costs is so much for each of its weights, so much for each output channel, and so
much besides; density and bits decide how much. Weights are a product of two widths. So once
every layer's density and bits are decided, the cost is a polynomial of second degree in the
widths; and once the widths are, it is a sum over layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from automl_agents.allocation.quadratic_costs import QuadraticCosts
from automl_compress.core import CompressionSpace, LayerGraph, Metric
from automl_compress.core.graph import Width

MOST_KNOTS = 5  # values of a decision at which its cost is measured; between them it is linear


@dataclass(frozen=True)
class LayerTable:
    """What one layer may become: S combinations of the values of its k decisions.

    places: of the decisions in a setting, (k,).
    values: (S, k); the last row has the largest of each.
    prices: what a combination costs more than the last: for each weight of the uncut shape's
        axes, for each output channel, and once; (S, 3).
    """

    places: tuple[int, ...]
    values: np.ndarray
    prices: np.ndarray


@dataclass(frozen=True)
class LayerCosts:
    """The cost of widths and of one combination for each of L layers.

    base: with the last combination of every layer; a polynomial in G widths.
    sizes: weights of every layer, then output channels of every layer, as polynomials; each
        field has an axis of length 2 L in front.
    """

    base: QuadraticCosts
    sizes: QuadraticCosts
    tables: tuple[LayerTable, ...]

    @classmethod
    def of(
        cls, space: CompressionSpace, metric: Metric, open_places: Sequence[int]
    ) -> "LayerCosts":
        """Measure the tables: up to 3 * MOST_KNOTS ** k calls for a layer of k decisions.

        Args:
            space: whose costs are taken apart.
            metric: what the budget counts.
            open_places: of the decisions that have a choice; the others are at their largest.
        """
        groups = len(space.graph.groups)
        places: dict[str, list[int]] = {}
        for place in open_places:
            if place >= groups:
                places.setdefault(space.decisions[place].target, []).append(place)
        weights = [_weights(space.graph, name) for name in places]
        outputs = [_outputs(space.graph, name) for name in places]
        sizes = _stacked([*weights, *outputs], groups)
        tables = tuple(
            _table(space, metric, own, weights[row], outputs[row])
            for row, own in enumerate(places.values())
        )
        return cls(QuadraticCosts.of(space, metric), sizes, tables)

    def given(self, prices: np.ndarray) -> QuadraticCosts:
        """Return the polynomial in the widths for combinations of these prices.

        Args:
            prices: rows of the tables' `prices`, (L, 3); or of P networks, (P, L, 3).
        """
        if not self.tables:
            return self.base
        factors = np.concatenate([prices[..., 0], prices[..., 1]], axis=-1)  # (..., 2 L)
        base, sizes = self.base, self.sizes
        return QuadraticCosts(
            base.constant + prices[..., 2].sum(axis=-1) + factors @ sizes.constant,
            base.linear + factors @ sizes.linear,
            base.square + factors @ sizes.square,
            base.pairs + np.tensordot(factors, sizes.pairs, axes=1),
        )

    def measures(self, widths: np.ndarray) -> np.ndarray:
        """Return weights, outputs and 1 of each layer, by which prices are multiplied.

        Args:
            widths: of P networks, (P, G).

        Returns:
            (P, L, 3).
        """
        rows, layers = len(widths), len(self.tables)
        if not layers:
            return np.zeros((rows, 0, 3))
        sizes = self.sizes
        mixed = 0.5 * np.einsum("pg,fgh,ph->pf", widths, sizes.pairs, widths)
        found = sizes.constant + widths @ sizes.linear.T + widths**2 @ sizes.square.T + mixed
        return np.stack([found[:, :layers], found[:, layers:], np.ones((rows, layers))], axis=-1)

    def measure(self, layer: int, widths: np.ndarray) -> np.ndarray:
        """Return `measures` of one layer: (P, G) to (P, 3)."""
        sizes, own = self.sizes, [layer, len(self.tables) + layer]
        mixed = 0.5 * np.sum((widths @ sizes.pairs[own]) * widths, axis=2).T  # (P, 2)
        found = sizes.constant[own] + widths @ sizes.linear[own].T + mixed  # type: ignore[index]
        found += widths**2 @ sizes.square[own].T
        return np.column_stack([found, np.ones(len(widths))])


def _weights(graph: LayerGraph, name: str) -> QuadraticCosts:
    tensor = next(each for each in graph.tensors if each.name == graph.layer(name).weight)
    return _multiplied(tensor.axes, len(graph.groups))


def _outputs(graph: LayerGraph, name: str) -> QuadraticCosts:
    tensor = next(each for each in graph.tensors if each.name == graph.layer(name).weight)
    return _multiplied(tensor.axes[:1], len(graph.groups))


def _multiplied(axes: Sequence[Width], groups: int) -> QuadraticCosts:
    """Return the product of a tensor's axes, of which at most two depend on widths."""
    constant, linear, mixed = 1.0, np.zeros(groups), np.zeros((groups, groups))
    for axis in axes:
        slope = np.zeros(groups)
        for group, each in axis.terms:
            slope[group] += each
        mixed = mixed * axis.fixed + np.outer(linear, slope)
        linear = linear * axis.fixed + constant * slope
        constant *= axis.fixed
    mixed = mixed + mixed.T
    square = np.diag(mixed) / 2
    return QuadraticCosts(constant, linear, square, mixed - np.diag(np.diag(mixed)))


def _stacked(polynomials: Sequence[QuadraticCosts], groups: int) -> QuadraticCosts:
    count = len(polynomials)
    return QuadraticCosts(
        np.array([each.constant for each in polynomials]),
        np.array([each.linear for each in polynomials]).reshape(count, groups),
        np.array([each.square for each in polynomials]).reshape(count, groups),
        np.array([each.pairs for each in polynomials]).reshape(count, groups, groups),
    )


def _table(
    space: CompressionSpace,
    metric: Metric,
    places: Sequence[int],
    weights: QuadraticCosts,
    outputs: QuadraticCosts,
) -> LayerTable:
    allowed = [space.allowed[place] for place in places]
    knots = [_knots(values) for values in allowed]
    surroundings = _surroundings(space, weights)
    measures = np.array(
        [[weights.total(widths), outputs.total(widths), 1.0] for widths, _ in surroundings]
    )  # (N, 3)
    scale = measures.max(axis=0)

    def costs(changes: Mapping[int, int]) -> np.ndarray:
        found: list[int] = []
        for _, setting in surroundings:
            changed = [changes.get(place, value) for place, value in enumerate(setting)]
            found.append(space.costs.cost(changed).of(metric))
        return np.array(found, dtype=np.float64)

    reference = costs({})
    rows = [costs(dict(zip(places, values, strict=True))) - reference for values in product(*knots)]
    # Where measures hang together, least squares still gives the right sums.
    prices = np.linalg.lstsq(measures / scale, np.array(rows).T, rcond=None)[0].T / scale  # (K, 3)
    grid = prices.reshape(*(len(each) for each in knots), 3)
    values = np.array(list(product(*allowed)))
    return LayerTable(tuple(places), values, RegularGridInterpolator(knots, grid)(values))


def _knots(allowed: Sequence[int]) -> list[int]:
    count = min(len(allowed), MOST_KNOTS)
    places = np.unique(np.linspace(0, len(allowed) - 1, count).round().astype(int))
    return [allowed[place] for place in places]


def _surroundings(
    space: CompressionSpace, weights: QuadraticCosts
) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Return widths (G,) and settings in which a layer has all sizes that tell prices apart."""
    groups = len(space.graph.groups)
    middle = [allowed[len(allowed) // 2] for allowed in space.allowed[:groups]]
    found: dict[tuple[int, ...], tuple[np.ndarray, tuple[int, ...]]] = {}
    touched = np.flatnonzero(weights.linear + weights.square + weights.pairs.sum(axis=0))
    for widths in (space.largest[:groups], middle, space.smallest[:groups]):
        key = tuple(widths[group] for group in touched)
        setting = (*widths, *space.largest[groups:])
        found.setdefault(key, (np.asarray(widths, dtype=np.float64), setting))
    return list(found.values())
