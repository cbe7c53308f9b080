"""Measuring latency tables on this machine."""

from collections.abc import Callable, Sequence

from automl_compress.core import CompressionSpace
from automl_compress.core.errors import UnknownName
from automl_compress.costs.latency_table import LatencyTable
from automl_compress.costs.layer_times import LayerShape
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.evaluate.latency import engine_of, processor_name
from automl_compress.evaluate.latency_calibration import calibrated, integer_candidates
from automl_compress.evaluate.layer_passes import Grid, measure_layers
from automl_compress.export.engines import version_of
from automl_compress.networks.trace import Network
from automl_compress.targets import TARGETS, Target

MOST_ENTRIES = 36  # of one shape, unless more are asked for


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
    times = run_isolated(measure_layers, grids, target, batch, go_on=go_on)
    table = LatencyTable(
        target, processor_name(), version_of(engine_of(target)), batch, tuple(times)
    )
    return calibrated(table, network, space, target, go_on)


def is_table_of(table: LatencyTable, space: CompressionSpace) -> bool:
    """Say whether `measure_table` would, left alone, measure the same layers at the same widths.

    Tables of before spreads were measured are no such ones.
    """
    held = [Grid(each.shape, each.inputs, each.outputs) for each in table.times]
    has_spreads = all(each.spreads is not None for each in table.times)
    return has_spreads and held == _grids(space, MOST_ENTRIES)


def _grids(space: CompressionSpace, most: int) -> list[Grid]:
    graph = space.graph
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    widths = space.allowed[: len(graph.groups)]
    integer = integer_candidates(space)
    found: dict[Grid, None] = {}
    for layer in graph.layers:
        if layer.kind != "other":
            outputs, inputs = (
                _reachable(axis.fixed, axis.terms, widths, graph.full_widths)
                for axis in tensors[layer.weight].axes[:2]
            )
            thinned = _thinned(inputs, outputs, most)
            for is_integer in (False, True)[: 1 + (layer.name in integer)]:
                found[Grid(LayerShape.of(layer, is_integer=is_integer), *thinned)] = None
    return list(found)


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
