"""Summary and tables of `bench-deep-compression`, from whatever cells are finished."""

import statistics
from itertools import product
from typing import Any

from benchmarks import records
from benchmarks.cells import Cells

NAME = "deep-compression"
NETWORKS = ("lenet-300-100", "lenet-5")
SEEDS = (0, 1, 2)
SPARSE_PERCENT = (90, 97)
_PAYLOAD_WEIGHTS, _TABLE_WEIGHTS, _MOSTLY_ZERO = 10_000, 30_000, 0.5


def write(cells: Cells) -> str:
    """Gather the finished cells into the summary, store it, and return it as tables."""
    summary = summarise(cells)
    records.save(NAME, summary, {"cells": f"{cells.folder.name}/"}, list(SEEDS))
    return "\n\n".join([stages(cells), _figures(summary)])


def summarise(cells: Cells) -> dict[str, Any]:
    """Return the figures of the finished cells under plain keys: means over seeds, and ranges."""
    summary: dict[str, Any] = {}
    for name in NETWORKS:
        found = [runs for seed in SEEDS if (runs := _run(cells, name, seed)) is not None]
        if found:
            summary |= {f"{name}.{key}": value for key, value in _network(found).items()}
    for percent, how in product(SPARSE_PERCENT, ("one-shot", "in-rounds")):
        runs = [cells.read(f"lenet-300-100-{seed}-{percent}-{how}") for seed in SEEDS]
        scores = [run["search_accuracy"] for run in runs if run is not None]
        if scores:
            summary[f"{percent}-percent.{how}"] = _mean(scores, 4)
            summary[f"{percent}-percent.{how}.seeds"] = [_rounded(each, 4) for each in scores]
    return summary


def stages(cells: Cells) -> str:
    """Return the table of stages of the first seed of each network, in the manner of the paper."""
    lines = ["| network | stage | accuracy (search) | bytes | smaller |", "| --- " * 5 + "|"]
    for name in NETWORKS:
        run = _run(cells, name, SEEDS[0])
        if run is None:
            continue
        uncut = run["coded"]["uncut_bytes"]
        coded = {"search_accuracy": run["shared"]["search_accuracy"], **run["coded"]}
        rows = {
            "trained": {**run["trained"], "bytes": uncut},
            "pruned": run["pruned"],
            "shared": run["shared"],
            "coded, relative indices and Huffman": {**coded, "bytes": coded["faithful_bytes"]},
            "coded, by entropy": coded,
        }
        for stage, row in rows.items():
            lines.append(
                f"| {name} | {stage} | {row['search_accuracy']:.2%} | {row['bytes']:,.0f} | "
                f"{uncut / row['bytes']:.1f}x |"
            )
    return "\n".join(lines)


def section(cells: Cells) -> str | None:
    """Return the section of the benchmarks' page; None while no network is finished."""
    summary = summarise(cells)
    if not any(key.startswith(NETWORKS) for key in summary):
        return None
    return (
        "## Prune, share, code\n\nDeep Compression on Fashion-MNIST. Weights are removed in four "
        "rounds with training in between, what is left of a layer shares the values of one "
        "codebook, which is trained, and the codes are packed. `bytes` of `pruned` is a mask and "
        "floats, of `shared` a mask and codes, of the others the whole file. `dropped` is the "
        "accuracy lost on the test split against the uncut network trained for as many epochs "
        "more, in points. `payload` and `whole` are coded layers of over 10,000 and 30,000 "
        "weights by their zero-order entropy, without and with their tables, the worst; `saved` "
        "what coding by entropy saves against relative indices and Huffman codes on layers mostly "
        "zero, the least and the whole file. `90-percent` and `97-percent` remove that much of "
        "each layer of LeNet-300-100 in one step or four, with twelve epochs in all.\n\n"
        f"{stages(cells)}\n\n{_figures(summary)}\n"
    )


def _run(cells: Cells, name: str, seed: int) -> dict[str, dict[str, Any]] | None:
    """Return all stages of a network; None while one is missing."""
    names = ("trained", "pruned", "shared", "coded", "tested")
    found = {stage: cells.read(f"{name}-{seed}-{stage}") for stage in names}
    return None if None in found.values() else found  # type: ignore[return-value]


def _network(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    coded = [run["coded"] for run in runs]
    drops = [
        100 * (run["tested"]["uncut_accuracy"] - run["tested"]["compressed_accuracy"])
        for run in runs
    ]
    layers = [layer for each in coded for layer in each["layers"].values()]
    saved = [1 - _size(layer) / layer["faithful_bytes"] for layer in layers if _is_sparse(layer)]
    return {
        "seeds": len(runs),
        "uncut_test": _mean([run["tested"]["uncut_accuracy"] for run in runs], 4),
        "compressed_test": _mean([run["tested"]["compressed_accuracy"] for run in runs], 4),
        "dropped": _mean(drops, 2),
        "dropped.seeds": [_rounded(each, 2) for each in drops],
        "smaller": _mean([each["uncut_bytes"] / each["bytes"] for each in coded], 1),
        "smaller.faithful": _mean(
            [each["uncut_bytes"] / each["faithful_bytes"] for each in coded], 1
        ),
        "payload": _worst(layers, _PAYLOAD_WEIGHTS, "payload_bytes"),
        "whole": _worst(layers, _TABLE_WEIGHTS, "payload_bytes", "table_bytes"),
        "saved.least": _rounded(min(saved), 3),
        "saved.file": _mean([1 - each["bytes"] / each["faithful_bytes"] for each in coded], 3),
    }


def _is_sparse(layer: dict[str, Any]) -> bool:
    return layer["zeros"] > _MOSTLY_ZERO and layer["weights"] > _PAYLOAD_WEIGHTS


def _size(layer: dict[str, Any]) -> int:
    return layer["payload_bytes"] + layer["table_bytes"]


def _worst(layers: list[dict[str, Any]], above: int, *parts: str) -> float:
    return max(
        _rounded(sum(layer[part] for part in parts) / layer["entropy_bytes"], 4)
        for layer in layers
        if layer["weights"] > above
    )


def _mean(values: list[float], digits: int) -> float:
    return _rounded(statistics.fmean(values), digits)


def _rounded(value: float, digits: int) -> float:
    return round(value, digits)


def _figures(summary: dict[str, Any]) -> str:
    rows = "\n".join(f"| `{key}` | {value} |" for key, value in summary.items())
    return f"| figure | value |\n| --- | --- |\n{rows}"
