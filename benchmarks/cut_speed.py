"""Speed of cut networks in inference engines, beside the MACs that they keep.

Networks are cut to one common keep ratio, to any width or to multiples of 8 or 16, and take
turns with the uncut network: one thread, processor time of the measuring process, which is of
its own for each figure (`automl_compress.evaluate.latency`). Weights are fresh: time does not
depend on them. Each network is checked in ONNX Runtime against torch before it is measured.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Budget, SpaceOptions
from automl_compress.core.errors import BudgetUnreachable
from automl_compress.costs import AnalyticCosts, compression_space
from automl_compress.evaluate.latency import LatencyPlan, measure_latency
from automl_compress.export.agreement import check_agreement
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.sessions import onnxruntime_session
from automl_compress.networks.architectures import architecture
from automl_compress.networks.trace import Network, trace
from automl_compress.targets import TARGETS
from automl_compress.train.randomness import seeded
from benchmarks import records
from benchmarks.cells import Cells

NETWORKS = ("resnet-20", "resnet-56", "mobilenet-v2", "densenet-bc-100")
RATIOS, MULTIPLES, BATCHES = (0.5, 0.25), (1, 8, 16), (1, 32)
SECONDS, SEED = 0.8, 0
NAME = "cut-speed"


@dataclass
class Bench:
    """The uncut networks, traced and written once; files go when the program ends."""

    folder: Path
    networks: dict[str, Network] = field(default_factory=dict)

    def uncut(self, name: str) -> tuple[Network, Path]:
        if name not in self.networks:
            offer = architecture(name)
            config = offer.configure()
            with seeded(SEED):
                module = offer.build(config).eval()
            self.networks[name] = trace(module, offer.input_shape(config))
            self.write(module, self.networks[name].graph.input_shape, name)
        return self.networks[name], self.folder / f"{name}.onnx"

    def write(self, module: nn.Module, input_shape: tuple[int, ...], stem: str) -> Path:
        content = onnx_bytes(module, input_shape)
        run = onnxruntime_session(content).run
        check_agreement(("onnxruntime", ""), run, module, input_shape)
        path = self.folder / f"{stem}.onnx"
        path.write_bytes(content)
        return path


def measure(bench: Bench, name: str, ratio: float, multiple: int, seconds: float) -> dict[str, Any]:
    """Cut one network and measure it on every target and at every batch size."""
    network, reference = bench.uncut(name)
    graph, costs = network.graph, AnalyticCosts(network.graph)
    space = compression_space(graph, SpaceOptions(round_to=multiple))
    try:
        policy = space.policy(space.uniform(Budget("macs", ratio)))
    except BudgetUnreachable as error:
        return {"refused": str(error)}
    selector = ChannelSelector(network)
    small = cut_network(network, selector.kept(selector.explicit(policy)))
    path = bench.write(small, graph.input_shape, "cut")
    kept = costs.cost(policy.widths(graph)).macs / costs.cost(graph.full_widths).macs
    measured = [
        measure_latency(path, target, reference, LatencyPlan(batch, seconds, SEED)).to_json()
        for target, batch in product(TARGETS, BATCHES)
    ]
    return {"macs_kept": kept, "measured": measured}


def plan(names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, float, int]]]:
    """Yield the key of every cell with what it measures."""
    for name, ratio, multiple in product(names, RATIOS, MULTIPLES):
        yield f"{name}-{ratio:.0%}-r{multiple}".replace("%", ""), (name, ratio, multiple)


def summarise(cells: Cells) -> dict[str, Any]:
    """Return the figures of the finished cells under plain keys."""
    summary: dict[str, Any] = {}
    for key, _ in plan(NETWORKS):
        cell = cells.read(key)
        if cell is None or "refused" in cell:
            continue
        summary[f"{key}.fewer_macs"] = round(1 / cell["macs_kept"], 2)
        for each in cell["measured"]:
            engine, batch = each["target"].removeprefix("cpu-"), each["plan"]["batch"]
            summary[f"{key}.{engine}.batch_{batch}.speedup"] = round(each["speedup"], 2)
    return summary


def section(cells: Cells) -> str | None:
    """Return what the benchmarks' page says; None while nothing was measured."""
    if not any(cells.read(key) for key, _ in plan(NETWORKS)):
        return None
    return (
        "## Speed of cut networks\n\nSpeed-up over the uncut network in the same engine, one "
        "thread, with the spread of ten blocks. Each network is cut to one common keep ratio: "
        "`-50-r16` is half of the MACs with widths in multiples of 16, `r1` any width. Cut and "
        "uncut network take turns, and what counts is the ratio of their processor times; wall "
        "times of a busy machine tell little. Half the MACs are not half the time.\n\n"
        f"{table(cells)}\n"
    )


def table(cells: Cells) -> str:
    """Return the finished cells as a Markdown table; speed-ups with their spread."""
    heads = [
        f"{target.removeprefix('cpu-')}, batch {batch}" for target in TARGETS for batch in BATCHES
    ]
    rows = [
        f"| network | fewer MACs | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * (1 + len(heads)),
    ]
    for key, _ in plan(NETWORKS):
        cell = cells.read(key)
        if cell is None:
            continue
        if "refused" in cell:
            rows.append(f"| {key} | unreachable |" + " |" * len(heads))
            continue
        times = [
            f"{each['speedup']:.2f} ± {each['speedup'] * each['spread']:.2f}"
            for each in cell["measured"]
        ]
        rows.append(f"| {key} | {1 / cell['macs_kept']:.2f} | {' | '.join(times)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure the missing cells, then show what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, help="only this one")
    parser.add_argument("--quick", action="store_true", help="ResNet-20, 0.2 s a figure; not kept")
    parser.add_argument("--report", action="store_true", help="show only; measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells(f"{NAME}-quick" if arguments.quick else NAME)
    names = (arguments.network,) if arguments.network else NETWORKS
    with tempfile.TemporaryDirectory() as folder:
        bench, seconds = Bench(Path(folder)), 0.2 if arguments.quick else SECONDS
        for key, cell in plan(names[:1] if arguments.quick else names):
            if not arguments.report:
                cells.compute(key, lambda cell=cell: measure(bench, *cell, seconds))
                print(key, flush=True)
    if not arguments.quick:
        records.save(NAME, summarise(cells), {"cells": f"{cells.folder.name}/"}, [SEED])
    print(table(cells))
    if arguments.quick:
        shutil.rmtree(cells.folder)


if __name__ == "__main__":
    main()
