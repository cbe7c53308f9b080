"""Measuring latency tables on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from scipy.optimize import nnls

from automl_compress.compress.candidate import cut_network
from automl_compress.core import Budget, CompressionSpace, LayerGraph
from automl_compress.core.errors import UnknownName
from automl_compress.costs.latency_model import LatencyModel
from automl_compress.costs.latency_table import Calibration, LatencyTable, LayerShape, LayerTimes
from automl_compress.costs.layered import INTEGER_BITS
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.evaluate.latency import (
    Taker,
    engine_of,
    load_session,
    processor_name,
    take_turns,
    warmed,
)
from automl_compress.export.engines import version_of
from automl_compress.export.integer_onnx import with_made_up_codes
from automl_compress.export.layer_network import layer_network
from automl_compress.export.onnx_template import OnnxTemplate
from automl_compress.export.sessions import ONNX_RUNTIME
from automl_compress.networks.trace import Network
from automl_compress.targets import TARGETS, Target

MOST_ENTRIES = 36  # of one shape, unless more are asked for
_COPIES = (1, 5)
_LAYER_SECONDS, _NETWORK_SECONDS = 0.03, 0.3
_CALIBRATION_NETWORKS, _INTEGER_NETWORKS = 10, 6
_SEED = 0


@dataclass(frozen=True)
class _Grid:
    """Widths at which a shape is measured."""

    shape: LayerShape
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def measure_table(
    network: Network,
    space: CompressionSpace,
    target: Target,
    batch: int = 1,
    *,
    most_entries: int = MOST_ENTRIES,
    go_on: Callable[[], None] = lambda: None,
) -> LatencyTable:
    """Measure what a network's layers take, and fit their sum to whole networks.

    Each distinct shape is measured once, for the widths that the space allows; of more than
    `most_entries` pairs those are taken that are multiples of powers of two. Shapes of layers
    whose weights and inputs may both get 8 bits or fewer are measured in int8 too.

    Args:
        network: the uncut network, traced.
        space: says which widths its layers can have.
        target: the engine.
        batch: images of one call.
        most_entries: of one shape; pairs of widths.
        go_on: called again and again; what it raises ends the measurement.

    Raises:
        UnknownName: there is no such target.
        InvalidInput: the engine is not installed.
        ModelInvalid: the network cannot be exported, or the engine cannot run it.

    Source: calibration of a look-up table with an intercept and a factor; without them sums of
    isolated layers were 1.1 to 1.9 times too large, in two engines.
    """
    if target not in TARGETS:
        raise UnknownName("latency target", target, TARGETS)
    grids = _grids(space, most_entries)
    times = run_isolated(_measure_layers, grids, target, batch, go_on=go_on)
    table = LatencyTable(
        target, processor_name(), version_of(engine_of(target)), batch, tuple(times)
    )
    return _calibrated(table, network, space, target, go_on)


def is_table_of(table: LatencyTable, space: CompressionSpace) -> bool:
    """Say whether `measure_table` would, left alone, measure the same layers at the same widths."""
    held = [_Grid(each.shape, each.inputs, each.outputs) for each in table.times]
    return held == _grids(space, MOST_ENTRIES)


def _grids(space: CompressionSpace, most: int) -> list[_Grid]:
    graph = space.graph
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    widths = space.allowed[: len(graph.groups)]
    integer = integer_candidates(space)
    found: dict[_Grid, None] = {}
    for layer in graph.layers:
        if layer.kind != "other":
            outputs, inputs = (
                _reachable(axis.fixed, axis.terms, widths, graph.full_widths)
                for axis in tensors[layer.weight].axes[:2]
            )
            thinned = _thinned(inputs, outputs, most)
            for is_integer in (False, True)[: 1 + (layer.name in integer)]:
                found[_Grid(LayerShape.of(layer, is_integer=is_integer), *thinned)] = None
    return list(found)


def integer_candidates(space: CompressionSpace) -> set[str]:
    """Name the layers whose weights and inputs may both get so few bits as int8 has."""
    few = [
        {
            each.target
            for each in space.decisions
            if each.kind == kind and each.allowed[0] <= INTEGER_BITS
        }
        for kind in ("weight_bits", "activation_bits")
    ]
    return few[0] & few[1]


def _reachable(
    fixed: int,
    terms: Sequence[tuple[int, int]],
    widths: Sequence[Sequence[int]],
    full: Sequence[int],
) -> set[int]:
    """Return sizes of an axis: one group in all of its widths, several in step with each other."""
    if not terms:
        return {fixed}
    if len(terms) == 1:
        group, each = terms[0]
        return {fixed + each * width for width in (*widths[group], full[group])}
    steps = max(len(widths[group]) for group, _ in terms)
    found = {fixed + sum(each * full[group] for group, each in terms)}
    for step in range(steps):
        share = step / max(steps - 1, 1)
        found.add(
            fixed
            + sum(
                each * widths[group][round(share * (len(widths[group]) - 1))]
                for group, each in terms
            )
        )
    return found


def _thinned(
    inputs: set[int], outputs: set[int], most: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Keep multiples of powers of two, and the largest, until there are few enough pairs."""
    axes, steps = [inputs, outputs], [1, 1]
    while len(axes[0]) * len(axes[1]) > most:
        longer = int(len(axes[1]) > len(axes[0]))
        steps[longer] *= 2
        whole = {size for size in axes[longer] if size % steps[longer] == 0}
        axes[longer] = whole | {max(axes[longer])}
    return tuple(sorted(axes[0])), tuple(sorted(axes[1]))


def _measure_layers(grids: Sequence[_Grid], target: Target, batch: int) -> list[LayerTimes]:
    """Measure every entry in turns with one reference, whose own time is the unit."""
    generator = np.random.default_rng(_SEED)
    first = grids[0]

    def taker(grid: _Grid, inputs: int, outputs: int, copies: int) -> Taker:
        content = layer_network(grid.shape, inputs, outputs, copies)
        return warmed(load_session(content, target, batch), batch, generator)

    reference = taker(first, first.inputs[-1], first.outputs[-1], _COPIES[1])
    reference_ns: list[float] = []
    # Entries that are neighbours are not measured one after the other.
    entries = [
        (place, row, column)
        for place, grid in enumerate(grids)
        for row in range(len(grid.inputs))
        for column in range(len(grid.outputs))
    ]
    ratios = [np.zeros((len(grid.inputs), len(grid.outputs))) for grid in grids]
    for index in generator.permutation(len(entries)):
        place, row, column = entries[int(index)]
        grid = grids[place]
        takers = [taker(grid, grid.inputs[row], grid.outputs[column], copies) for copies in _COPIES]
        rounds = take_turns([reference, *takers], _LAYER_SECONDS, generator)
        reference_ns += [each[0] for each in rounds]
        differences = [(many - one) / unit for unit, one, many in rounds]
        ratios[place][row, column] = max(median(differences), 0.0) / (_COPIES[1] - _COPIES[0])
    unit = median(reference_ns)
    return [
        LayerTimes(grid.shape, grid.inputs, grid.outputs, ratio * unit)
        for grid, ratio in zip(grids, ratios, strict=True)
    ]


def _calibrated(
    table: LatencyTable,
    network: Network,
    space: CompressionSpace,
    target: Target,
    go_on: Callable[[], None],
) -> LatencyTable:
    """Fit intercept and factors to whole networks, by least squares of relative errors."""
    settings = _calibration_settings(space)
    are_integer = _integer_layers(space, len(settings))
    contents = cut_files(network, settings, are_integer, target)
    measured = np.array(
        run_isolated(measure_networks, contents, target, table.batch, _NETWORK_SECONDS, go_on=go_on)
    )
    model = LatencyModel(space.graph, table)
    features = np.array(list(map(model.features, settings, are_integer)))
    scale = features.max(axis=0)
    scale[scale == 0] = 1.0
    weights, _ = nnls(features / scale / measured[:, None], np.ones(len(measured)))
    predicted = features @ (weights / scale)
    checks = tuple(zip(predicted.tolist(), measured.tolist(), strict=True))
    call_ns, layers, elementwise_ns, integer_layers, quantising_ns = (weights / scale).tolist()
    told = Calibration(call_ns, layers, elementwise_ns, integer_layers, quantising_ns, checks)
    return replace(table, calibration=told)


def _calibration_settings(space: CompressionSpace) -> list[tuple[int, ...]]:
    """Return the uncut network, the smallest, and networks spread over the MACs between."""
    groups, generator = len(space.graph.groups), np.random.default_rng(_SEED)
    lowest = space.costs.cost(space.smallest).macs / space.full.macs
    found = [space.graph.full_widths, space.smallest[:groups]]
    count = _CALIBRATION_NETWORKS + (_INTEGER_NETWORKS if integer_candidates(space) else 0)
    for place in range(1, count - 1):
        ratio = lowest + (1.0 - lowest) * place / (count - 1)
        found.append(space.sample(generator, Budget("macs", min(ratio + 1e-6, 1.0)))[:groups])
    return found


def _integer_layers(space: CompressionSpace, count: int) -> np.ndarray:
    """Choose which of the L layers are computed in int8: bool (count, L).

    Of every second network some are, and of the last one all.
    """
    candidates, generator = integer_candidates(space), np.random.default_rng(_SEED)
    allowed = np.array([name in candidates for name in _dense_layers(space.graph)])
    chosen = np.zeros((count, len(allowed)), dtype=bool)
    for row in chosen[2:-1:2]:
        row[:] = allowed & (generator.random(len(allowed)) < generator.random())
    chosen[-1] = allowed
    return chosen


def _dense_layers(graph: LayerGraph) -> list[str]:
    return [layer.name for layer in graph.layers if layer.kind != "other"]


def cut_files(
    network: Network, settings: Sequence[Sequence[int]], are_integer: np.ndarray, target: Target
) -> list[bytes]:
    """Return ONNX files of cut networks, for their times.

    Args:
        network: the uncut network, traced.
        settings: kept channels of each group, of N networks; the first so many are kept.
        are_integer: bool (N, L), which layers are computed in int8, on made-up grids.
        target: for whose engine.
    """
    has_integer_biases = engine_of(target) == ONNX_RUNTIME
    template, names = OnnxTemplate(network), np.array(_dense_layers(network.graph))

    def content(setting: Sequence[int], chosen: np.ndarray) -> bytes:
        kept = [torch.arange(width) for width in setting]
        written = template.bytes_of(cut_network(network, kept))
        if not chosen.any():
            return written
        few = set(names[chosen])
        return with_made_up_codes(written, few, has_integer_biases=has_integer_biases)

    return list(map(content, settings, are_integer))


def measure_networks(
    contents: Sequence[bytes], target: Target, batch: int, seconds: float
) -> list[float]:
    """Return nanoseconds of a call of each network; the first is the unit, and takes turns."""
    generator = np.random.default_rng(_SEED)
    takers = [
        warmed(load_session(content, target, batch), batch, generator) for content in contents
    ]
    unit_ns: list[float] = []
    ratios = [1.0]
    for taker in takers[1:]:
        rounds = take_turns([takers[0], taker], seconds, generator)
        unit_ns += [unit for unit, _ in rounds]
        ratios.append(median(ns / unit for unit, ns in rounds))
    unit = median(unit_ns)
    return [ratio * unit for ratio in ratios]
