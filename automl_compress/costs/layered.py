"""Costs of networks whose layers are quantised or sparse, without building them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from automl_compress.core import (
    CompressionSpace,
    Cost,
    CostModel,
    LayerGraph,
    Policy,
    SpaceOptions,
)
from automl_compress.core.decision import WHOLE_DENSITY, decisions_of
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.core.weight_grids import SHARING
from automl_compress.costs.analytic import AnalyticCosts, TensorSizes
from automl_compress.costs.latency_model import LatencyModel
from automl_compress.costs.latency_table import LatencyTable
from automl_compress.costs.layer_bits import folded_norms
from automl_compress.costs.layer_settings import LayerSettings
from automl_compress.costs.micronet_scores import MicroNetScores

# What the packed file takes besides the entries: its head, and for each tensor its name, shape,
# checks and coder's table. An upper bound, which a test holds against real files.
FILE_BYTES = 256
TENSOR_BYTES = 40
_LEAST_DENSITY = 1e-9


class LayeredCosts:
    """Counts cost from the graph, widths, and what becomes of each layer.

    Bytes are an upper bound of the packed file. A weight takes its code, or what a coder needs
    that knows which are zero: per entry the entropy of that plus the code of those that are
    not. A normalisation folded into a quantised layer leaves a scale and a shift for each
    channel; a quantised layer without one has a scale; with one scale for the tensor, that takes
    the place of the channels'. A layer of so few weights that its codes and scales would take
    more than its floats is stored as floats. Codebooks are counted where there are any.

    Source of the bound: Cover and Thomas, Elements of Information Theory, theorem 2.2.1 (the
    entropy of a mask and of what it leaves).
    """

    def __init__(self, graph: LayerGraph) -> None:
        """Find each layer's tensors: T of them, L layers."""
        self.full = AnalyticCosts(graph).full
        self._sizes = TensorSizes(graph)
        self._scores = MicroNetScores(graph)
        self.layers = tuple(layer.name for layer in graph.layers if layer.kind != "other")
        tensors = graph.tensors
        place = {tensor.name: index for index, tensor in enumerate(tensors)}
        self._item_bits = np.array([8 * tensor.item_bytes for tensor in tensors])
        self._is_parameter = np.array([int(tensor.is_parameter) for tensor in tensors])
        # Rows of these arrays are the layers: (L,), and (L, groups).
        self._weight = np.array([place[graph.layer(name).weight] for name in self.layers])
        self._positions = np.array([tensors[index].positions for index in self._weight])
        # A norm without a bias has no place for the shift, and is not folded.
        norms = folded_norms(graph).items()
        folded = {layer: norm for layer, norm in norms if f"{norm}.bias" in place}
        self._has_norm = np.array([name in folded for name in self.layers])
        # Tensors that disappear where the layer of the same place in `dropped_by` is quantised.
        dropped = [
            (place[name], row)
            for row, layer in enumerate(self.layers)
            for part in ("running_mean", "running_var", "num_batches_tracked")
            if (name := f"{folded.get(layer)}.{part}") in place
        ]
        self._dropped, self._dropped_by = np.array(dropped, dtype=np.int64).reshape(-1, 2).T
        # A norm's scales, in whose place a quantised layer's are stored.
        scales = [
            (place[f"{norm}.weight"], self.layers.index(layer)) for layer, norm in folded.items()
        ]
        self._scales, self._scales_of = np.array(scales, dtype=np.int64).reshape(-1, 2).T
        self._overhead_bits = 8 * (FILE_BYTES + TENSOR_BYTES * len(tensors))

    def cost(self, widths: Sequence[int], layers: LayerSettings) -> Cost:
        """Return the cost when group g keeps `widths[g]` channels and the layers become these."""
        entries = self._sizes.of(widths)
        bits = entries * self._item_bits
        weights = entries[self._weight]
        densities = layers.densities
        is_quantised = layers.weight_bits < FLOAT_BITS
        bits[self._dropped[is_quantised[self._dropped_by]]] = 0
        channels = self._scores.channels(widths)
        outputs = channels[: len(weights)]
        has_one = is_quantised & layers.have_one_scale
        bits[self._scales[has_one[self._scales_of]]] = 0
        scales = np.where(has_one, 1, outputs * (is_quantised & ~self._has_norm)) * FLOAT_BITS
        codes = np.ceil(weights * _bits_per_weight(densities, layers.weight_bits)) + scales
        if layers.is_any_shared:
            codes += layers.codebook_bits(outputs, weights)
        floats = np.ceil(weights * _bits_per_weight(densities, np.full_like(codes, FLOAT_BITS)))
        bits[self._weight] = np.minimum(codes, floats)
        macs = weights * self._positions
        operations = macs * densities * layers.weight_bits * layers.activation_bits
        return Cost(
            int(macs.sum()),
            int(entries @ self._is_parameter),
            -(-(int(bits.sum()) + self._overhead_bits) // 8),
            int(np.ceil(operations).sum()),
            self._scores.of(channels, weights, layers),
        )


def _bits_per_weight(densities: np.ndarray, bits: np.ndarray) -> np.ndarray:
    if bool((densities == 1.0).all()):
        return bits
    zeros = np.clip(1.0 - densities, _LEAST_DENSITY, 1.0)
    mask = -densities * np.log2(densities) - zeros * np.log2(zeros)
    return np.minimum(mask + densities * bits, bits)


class SettingCosts:
    """The cost model of a space with decisions for single layers."""

    def __init__(self, graph: LayerGraph, options: SpaceOptions) -> None:
        """Find where in a setting each layer's values stand; the last place is a constant."""
        self._layered = LayeredCosts(graph)
        self._groups = len(graph.groups)
        self.full = self._layered.full
        decisions = decisions_of(graph, options)
        place = {(each.kind, each.target): index for index, each in enumerate(decisions)}
        count = len(self._layered.layers)
        self._are_shared = np.full(count, options.quantiser == SHARING)
        self._have_one_scale = np.full(count, options.weight_scales == "tensor")
        self._places, self._untouched = [], []
        for kind, untouched in (
            ("density", WHOLE_DENSITY),
            ("weight_bits", FLOAT_BITS),
            ("activation_bits", FLOAT_BITS),
        ):
            self._places.append([place.get((kind, name), -1) for name in self._layered.layers])
            self._untouched.append(untouched)

    def cost(self, setting: Sequence[int]) -> Cost:
        """Return the cost of a setting of the space's decisions."""
        return self._layered.cost(setting[: self._groups], self.layers(setting))

    def layers(self, setting: Sequence[int]) -> LayerSettings:
        """Return what a setting makes of the layers."""
        density, weights, activations = (
            np.array([*setting, untouched], dtype=np.float64)[places]
            for places, untouched in zip(self._places, self._untouched, strict=True)
        )
        densities = density / WHOLE_DENSITY
        return LayerSettings(
            densities, weights, activations, self._are_shared, self._have_one_scale
        )


class PolicyCosts:
    """Counts what a policy costs, whichever space it stems from."""

    def __init__(self, graph: LayerGraph, table: LatencyTable | None = None) -> None:
        """Prepare both counts, and the time on a target of which there is a table."""
        self._graph = graph
        self._float, self._layered = AnalyticCosts(graph), LayeredCosts(graph)
        self._latency = None if table is None else LatencyModel(graph, table.enveloped())
        self.full = timed(self._float.full, graph.full_widths, self._latency)

    def cost(self, policy: Policy) -> Cost:
        """Return the cost of a policy.

        Raises:
            PolicyMismatch: the policy was made for another network.
        """
        widths = policy.widths(self._graph)
        if not policy.layers:
            return timed(self._float.cost(widths), widths, self._latency)
        layers = self._settings(policy)
        counted = self._layered.cost(widths, layers)
        return timed(counted, widths, self._latency, layers.are_integer)

    def layer_latencies(self, policy: Policy | None = None) -> dict[str, int]:
        """Return what each convolution and linear layer takes of a call, in nanoseconds.

        Args:
            policy: what becomes of the network; None for the uncut one.

        Returns:
            By name; empty where there is no table.

        Raises:
            PolicyMismatch: the policy was made for another network.
        """
        if self._latency is None:
            return {}
        if policy is None:
            shares = self._latency.shares_ns(self._graph.full_widths)
        else:
            are_integer = self._settings(policy).are_integer
            shares = self._latency.shares_ns(policy.widths(self._graph), are_integer)
        return dict(zip(self._layered.layers, map(round, shares.tolist()), strict=True))

    def _settings(self, policy: Policy) -> LayerSettings:
        count = len(self._layered.layers)
        densities = np.ones(count)
        weights, activations = np.full((2, count), float(FLOAT_BITS))
        are_shared, have_one_scale = np.zeros((2, count), dtype=bool)
        place = {name: index for index, name in enumerate(self._layered.layers)}
        for name, choice in policy.layer_choices(self._graph).items():
            index = place[name]
            densities[index] = round(1.0 - choice.sparsity, 9)  # 1 - 0.4 is 0.6
            weights[index] = choice.weight_bits
            activations[index] = choice.activation_bits
            are_shared[index] = choice.quantiser == SHARING
            have_one_scale[index] = choice.weight_scales == "tensor"
        return LayerSettings(densities, weights, activations, are_shared, have_one_scale)


class TimedCosts:
    """A cost model that also predicts the time on a target."""

    def __init__(self, costs: CostModel, graph: LayerGraph, latency: LatencyModel) -> None:
        """Take the counts from another model of the same settings."""
        self._costs, self._groups, self._latency = costs, len(graph.groups), latency
        self.full = timed(costs.full, graph.full_widths, latency)

    def cost(self, setting: Sequence[int]) -> Cost:
        """Return the cost of a setting of the space's decisions."""
        costs = self._costs
        layers = costs.layers(setting) if isinstance(costs, SettingCosts) else None
        are_integer = None if layers is None else layers.are_integer
        return timed(costs.cost(setting), setting[: self._groups], self._latency, are_integer)


def timed(
    cost: Cost,
    widths: Sequence[int],
    latency: LatencyModel | None,
    are_integer: np.ndarray | None = None,
) -> Cost:
    """Return the cost with the time of such a network, where a model is given."""
    if latency is None:
        return cost
    return replace(cost, latency_ns=latency.latency_ns(widths, are_integer))


def compression_space(
    graph: LayerGraph, options: SpaceOptions, table: LatencyTable | None = None
) -> CompressionSpace:
    """Lay out a search space with the cost model that its decisions need.

    Args:
        graph: of the uncut network.
        options: what may be decided.
        table: times on a target; widths that save no time there are left out of the space.

    Raises:
        InvalidInput: options name what the graph does not have, or nothing can be decided.
        TableMismatch: the table lacks times for a layer.
    """
    costs: CostModel = AnalyticCosts(graph)
    if options.has_layer_decisions:
        costs = SettingCosts(graph, options)
    if table is None:
        return CompressionSpace(graph, costs, options)
    worthwhile = LatencyModel(graph, table).worthwhile(decisions_of(graph, options))
    timed_costs = TimedCosts(costs, graph, LatencyModel(graph, table.enveloped()))
    return CompressionSpace(graph, timed_costs, options, worthwhile, table.calibration.call_ns)
