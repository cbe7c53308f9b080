"""Long benchmarks in cells: each is computed once, stored when it is done, and kept.

A benchmark that is stopped goes on with the next missing cell; two processes started side by
side share the cells between them.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import COMMIT, RESULTS, host

Works = Iterable[tuple[str, Callable[[], dict[str, Any]]]]


class Cells:
    """The cells of one benchmark, one JSON file each."""

    def __init__(self, name: str) -> None:
        self.folder = RESULTS / f"{name}.cells"
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> dict[str, Any] | None:
        """Return a finished cell; None where it is missing."""
        path = self.folder / f"{key}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def compute(self, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Return the cell, computing it if it is missing; None while another process does."""
        found = self.read(key)
        if found is not None:
            return found
        claim = self.folder / f"{key}.claim"
        if not _take(claim):
            return None
        try:
            content = work()
            if not content:  # an input of the cell is still missing
                return None
            partial = self.folder / f"{key}.partial"
            made = {**content, "commit": COMMIT, "host": host()}
            partial.write_text(json.dumps(made, indent=1) + "\n")
            partial.replace(self.folder / f"{key}.json")
            return content
        finally:
            claim.unlink(missing_ok=True)

    def compute_missing(self, works: Works, only: str) -> None:
        """Compute the missing cells whose key contains `only`, and say how long each took."""
        for key, work in works:
            if only in key and self.read(key) is None:
                began = time.perf_counter()
                done = self.compute(key, work)
                state = "waits" if done is None else f"{time.perf_counter() - began:.0f} s"
                print(f"{key:28s} {state}", flush=True)


def run(
    name: str, description: str, works: Callable[[Cells], Works], write: Callable[[Cells], str]
) -> None:
    """Be the command of a benchmark: compute the missing cells, then print what there is.

    Args:
        name: of the benchmark.
        description: what `--help` says.
        works: each cell's key and what computes it, {} while another cell is missing; in the
            order of their worth.
        write: stores the summary, and returns it as a table.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--report", action="store_true", help="summarise only; compute nothing")
    parser.add_argument("--only", default="", help="compute only cells whose key contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells(name)
    if not arguments.report:
        cells.compute_missing(works(cells), arguments.only)
    print(write(cells))


def _take(claim: Path) -> bool:
    """Claim a cell for this process; a claim whose process is gone does not count."""
    try:
        owner = int(claim.read_text())
        os.kill(owner, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        claim.unlink(missing_ok=True)
    else:
        return False
    try:
        with claim.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
