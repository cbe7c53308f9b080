"""How well latency tables predict whole networks that they were not fitted to.

Of each network a table is measured for the widths of a space, and calibrated; then random networks
of that space, the slowest at most about twice as slow as the fastest, are measured in turns with
the uncut one. Predictions are compared with that: the error of the ratio to the uncut network,
and Kendall's tau, beside that of MACs. `any` widths are all whole numbers, as a search without
alignment gives them; the table then holds all of them where one axis is cut. Of `mixed` networks a
random share of the layers is computed in int8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from automl_compress.core import Budget, CompressionSpace, SpaceOptions
from automl_compress.costs import AnalyticCosts, compression_space
from automl_compress.costs.latency_model import LatencyModel
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.evaluate.latency_calibration import cut_files, measure_networks
from automl_compress.evaluate.latency_tables import measure_table
from automl_compress.networks.architectures import architecture
from automl_compress.networks.trace import Network, trace
from automl_compress.targets import TARGETS, Target
from automl_compress.train.randomness import seeded
from benchmarks import records
from benchmarks.cells import Cells, Works, run

NAME = "latency-model"
NETWORKS = ("resnet-20", "resnet-56", "mobilenet-v2")
# Multiples that widths are rounded to, and how many pairs of widths a table holds for a shape.
WIDTHS = {"aligned": (8, 36), "any": (1, 130), "mixed": (8, 36)}
RANDOM_NETWORKS, SECONDS, SEED = 30, 0.8, 0
RATIOS = (0.35, 0.9)  # of MACs; the slowest is then about twice as slow as the fastest


@dataclass(frozen=True)
class Case:
    """A network, an engine, and which widths there are."""

    network: str
    target: Target
    widths: str

    @property
    def key(self) -> str:
        return f"{self.network}-{self.target.removeprefix('cpu-')}-{self.widths}"


CASES = [
    Case(network, target, widths) for widths in WIDTHS for network in NETWORKS for target in TARGETS
]


def uncut(name: str) -> Network:
    offer = architecture(name)
    config = offer.configure()
    with seeded(SEED):
        return trace(offer.build(config).eval(), offer.input_shape(config))


def inner_channels(network: Network, multiple: int, has_integers: bool) -> CompressionSpace:
    """Open what one layer makes and another uses; residual stages stay whole, as in AMC's."""
    stages = tuple(each.name for each in network.graph.groups if len(each.producers) > 2)
    options = SpaceOptions(round_to=multiple, skip=stages)
    if has_integers:
        bits = (8, 32)
        options = replace(options, weight_bits=bits, activation_bits=bits, edge_bits=None)
    return compression_space(network.graph, options)


def integer_layers(space: CompressionSpace, count: int) -> np.ndarray:
    """Draw which of the L layers of each network are computed in int8; bool (count, L)."""
    generator = np.random.default_rng(2000 + SEED)
    layers = sum(layer.kind != "other" for layer in space.graph.layers)
    return generator.random((count, layers)) < generator.random((count, 1))


def settings_of(space: CompressionSpace, count: int) -> list[tuple[int, ...]]:
    """Draw networks at MACs between the two ratios, in which no calibration network is."""
    generator = np.random.default_rng(1000 + SEED)
    low = max(RATIOS[0], 1.02 * space.costs.cost(space.smallest).macs / space.full.macs)
    ratios = generator.uniform(low, RATIOS[1], count)
    return [space.sample(generator, Budget("macs", float(ratio))) for ratio in ratios]


def measured(case: Case) -> dict[str, Any]:
    network = uncut(case.network)
    multiple, most_entries = WIDTHS[case.widths]
    is_mixed, groups = case.widths == "mixed", len(network.graph.groups)
    space = inner_channels(network, multiple, is_mixed)
    table = measure_table(network, space, case.target, most_entries=most_entries)
    drawn = [setting[:groups] for setting in settings_of(space, RANDOM_NETWORKS)]
    settings = [network.graph.full_widths, *drawn]
    are_integer = integer_layers(space, len(settings)) & is_mixed
    are_integer[0] = False
    times = run_isolated(
        measure_networks,
        cut_files(network, settings, are_integer, case.target),
        case.target,
        table.batch,
        SECONDS,
    )
    counts = AnalyticCosts(network.graph)
    model = LatencyModel(network.graph, table)
    return {
        "entries": table.entries,
        "calibration": table.to_json()["calibration"],
        "macs": [counts.cost(setting).macs for setting in settings],
        "predicted_ns": list(map(model.latency_ns, settings, are_integer)),
        "measured_ns": times,
    }


def summary_of(cell: dict[str, Any]) -> dict[str, float]:
    """Compare ratios to the uncut network, which is the first."""
    predicted, found, macs = (
        _ratios(cell[name]) for name in ("predicted_ns", "measured_ns", "macs")
    )
    errors = np.abs(predicted / found - 1.0)
    return {
        "median_error": float(median(errors)),
        "largest_error": float(errors.max()),
        "tau": _tau(predicted, found),
        "tau_of_macs": _tau(macs, found),
        "slowest_by_fastest": float(found.max() / found.min()),
        "entries": cell["entries"],
    }


def _tau(first: np.ndarray, second: np.ndarray) -> float:
    found: Any = kendalltau(first, second)
    return float(found.statistic)


def _ratios(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values[1:], dtype=np.float64) / values[0]


def summarise(cells: Cells) -> dict[str, dict[str, float]]:
    """Return the figures of the finished cells by their keys."""
    found = {case.key: cells.read(case.key) for case in CASES}
    return {key: summary_of(cell) for key, cell in found.items() if cell is not None}


def section(cells: Cells) -> str | None:
    """Return what the benchmarks' page says; None while nothing was measured."""
    if not summarise(cells):
        return None
    return (
        "## Predicted latency\n\nA table of layer times (docs/latency.md) against 30 random "
        "networks that it was not fitted to, at batch 1, each measured for 0.8 s in turns with "
        "the uncut one. The error is that of the ratio to the uncut network; Kendall's tau "
        "tells how well the order is predicted, beside that of MACs. `aligned` widths are "
        "multiples of 8, `any` all whole numbers; of `mixed` networks, at multiples of 8, a random "
        "share of the layers is computed in int8.\n\n"
        f"{table(cells)}\n"
    )


def table(cells: Cells) -> str:
    """Return the finished cells as a Markdown table."""
    heads = ("entries", "median error", "largest", "tau", "tau of MACs", "slowest by fastest")
    rows = [
        f"| network, engine, widths | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * len(heads),
    ]
    rows += [
        f"| {key} | {each['entries']} | {each['median_error']:.1%} | {each['largest_error']:.1%} | "
        f"{each['tau']:.2f} | {each['tau_of_macs']:.2f} | {each['slowest_by_fastest']:.2f} |"
        for key, each in summarise(cells).items()
    ]
    return "\n".join(rows)


def works(_: Cells) -> Works:
    """Yield each cell's key and what computes it."""
    return ((case.key, partial(measured, case)) for case in CASES)


def write(cells: Cells) -> str:
    """Store the summary and return it as a table."""
    records.save(NAME, summarise(cells), {"cells": f"{cells.folder.name}/"}, [SEED])
    return table(cells)


if __name__ == "__main__":
    run(NAME, __doc__ or "", works, write)
