"""How far a latency table differs from itself when it is measured again.

Of each network the table for all widths is measured twice as the machine is, and twice beside
processes that keep every core busy. Two tables are compared after their common factor, which the
calibration of each takes out: the difference of every entry, and of the widths that are left
out because they save no time.

A search takes what a table says is fast, and so finds its errors. Of each table the network that
keeps the most MACs of many drawn at a latency budget is measured beside what the table said.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from automl_compress.core import Budget, SpaceOptions
from automl_compress.costs import AnalyticCosts, LatencyTable, compression_space
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.evaluate.latency_calibration import cut_files, measure_networks
from automl_compress.evaluate.latency_tables import measure_table
from automl_compress.networks.trace import Network
from automl_compress.targets import Target
from benchmarks import records
from benchmarks.cells import Cells, Works, run
from benchmarks.latency_model import uncut

NAME = "latency-noise"
NETWORKS = ("resnet-20", "resnet-56")
TARGET: Target = "cpu-openvino"
STATES = ("as it is", "busy")
REPEATS = 2
BUDGETS, DRAWN, SECONDS = (0.5, 0.6, 0.7), 200, 0.4


def measured(name: str, state: str) -> dict[str, Any]:
    """Measure a table twice; return its times, the widths that it leaves, and what it took."""
    network = uncut(name)
    space = compression_space(network.graph, SpaceOptions())
    found: list[dict[str, Any]] = []
    with busy_cores(os.cpu_count() or 1 if state == "busy" else 0):
        for _ in range(REPEATS):
            cpu_seconds, began = _children_seconds(), time.monotonic()
            table = measure_table(network, space, TARGET)
            found.append(
                {
                    "table": table.to_json(),
                    "widths": _widths(network, table),
                    "cpu_seconds": _children_seconds() - cpu_seconds,
                    "wall_seconds": time.monotonic() - began,
                    "load": os.getloadavg()[0],
                    "chosen": chosen(network, table),
                }
            )
    return {"tables": found}


def chosen(network: Network, table: LatencyTable) -> list[dict[str, float]]:
    """Return what networks that a table's errors may have chosen take, by the uncut network's."""
    space = compression_space(network.graph, SpaceOptions(), table)
    groups, counts = len(network.graph.groups), AnalyticCosts(network.graph)

    def macs(setting: tuple[int, ...]) -> int:
        return counts.cost(setting[:groups]).macs

    settings: list[tuple[int, ...]] = []
    for ratio in BUDGETS:
        generator, budget = np.random.default_rng(0), Budget("latency_ns", ratio)
        settings.append(max((space.sample(generator, budget) for _ in range(DRAWN)), key=macs))
    layers = sum(layer.kind != "other" for layer in network.graph.layers)
    widths = [network.graph.full_widths, *(each[:groups] for each in settings)]
    files = cut_files(network, widths, np.zeros((len(widths), layers), dtype=bool), TARGET)
    uncut_ns, *cut_ns = run_isolated(measure_networks, files, TARGET, table.batch, SECONDS)
    return [
        {
            "budget": ratio,
            "predicted": space.costs.cost(setting).latency_ns / space.full.latency_ns,
            "measured": nanoseconds / uncut_ns,
            "macs": macs(setting) / counts.full.macs,
        }
        for ratio, setting, nanoseconds in zip(BUDGETS, settings, cut_ns, strict=True)
    ]


def _widths(network: Network, table: LatencyTable) -> list[list[int]]:
    allowed = compression_space(network.graph, SpaceOptions(), table).allowed
    return [list(each) for each in allowed]


def _children_seconds() -> float:
    """Return the processor time of processes that ended; tables are measured in one of these."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep so many cores busy with convolutions."""
    context = get_context("spawn")
    workers = [context.Process(target=_work, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _work() -> None:
    torch.set_num_threads(1)
    layer, images = torch.nn.Conv2d(64, 64, 3, padding=1), torch.randn(32, 64, 32, 32)
    with torch.inference_mode():
        while True:
            layer(images)


def summary_of(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    """Compare two measured tables of one network."""
    ours, theirs = (_times(each["table"]) for each in (first, second))
    told = (ours > 0) & (theirs > 0)
    shares = np.log(ours[told] / theirs[told])
    differences = np.abs(np.expm1(shares - np.median(shares)))
    widths = [[set(group) for group in each["widths"]] for each in (first, second)]
    return {
        "entries": len(ours),
        "without_time": int((~told).sum()),
        "median_difference": float(np.median(differences)),
        "ninth_decile": float(np.quantile(differences, 0.9)),
        "widths_first": sum(map(len, widths[0])),
        "widths_second": sum(map(len, widths[1])),
        "widths_in_one_alone": sum(
            len(ours ^ theirs) for ours, theirs in zip(*widths, strict=True)
        ),
        "cpu_seconds": (first["cpu_seconds"] + second["cpu_seconds"]) / 2,
        "wall_seconds": (first["wall_seconds"] + second["wall_seconds"]) / 2,
        "load": second["load"],
        "chosen_bias": float(np.mean([_bias(each) for each in (first, second)])),
    }


def _bias(measured_table: dict[str, Any]) -> float:
    """Return by how much chosen networks take longer than predicted, the mean."""
    chosen_ones = measured_table["chosen"]
    return float(np.mean([each["measured"] / each["predicted"] - 1.0 for each in chosen_ones]))


def _times(table: dict[str, Any]) -> np.ndarray:
    return np.array([ns for each in table["layers"] for row in each["nanoseconds"] for ns in row])


def summarise(cells: Cells) -> dict[str, dict[str, float]]:
    """Compare the tables of one state with each other, and the second ones of both states."""
    found: dict[str, dict[str, float]] = {}
    for network in NETWORKS:
        cell = {state: cells.read(_key(network, state)) for state in STATES}
        tables = {state: each["tables"] for state, each in cell.items() if each is not None}
        for state, measured_twice in tables.items():
            found[f"{network}, {state}"] = summary_of(*measured_twice)
        if len(tables) == len(STATES):
            found[f"{network}, one and the other"] = summary_of(*(tables[x][1] for x in STATES))
    return found


def _key(network: str, state: str) -> str:
    return f"{network}-{state.replace(' ', '-')}"


def table(cells: Cells) -> str:
    """Return the finished cells as a Markdown table."""
    heads = (
        "entries",
        "without a time",
        "median difference",
        "90 % below",
        "widths left",
        "again",
        "in one alone",
        "CPU s",
        "wall s",
        "load",
        "chosen, measured by predicted",
    )
    rows = [f"| network, machine | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    rows += [
        f"| {key} | {each['entries']} | {each['without_time']} | {each['median_difference']:.1%} | "
        f"{each['ninth_decile']:.1%} | {each['widths_first']} | {each['widths_second']} | "
        f"{each['widths_in_one_alone']} | {each['cpu_seconds']:.0f} | {each['wall_seconds']:.0f} | "
        f"{each['load']:.1f} | {each['chosen_bias']:+.1%} |"
        for key, each in summarise(cells).items()
    ]
    return "\n".join(rows)


def works(_: Cells) -> Works:
    """Yield each cell's key and what computes it."""
    for network, state in product(NETWORKS, STATES):
        yield _key(network, state), partial(measured, network, state)


def write(cells: Cells) -> str:
    """Store the summary and return it as a table."""
    records.save(NAME, summarise(cells), {"cells": f"{cells.folder.name}/"}, [])
    return table(cells)


if __name__ == "__main__":
    run(NAME, __doc__ or "", works, write)
