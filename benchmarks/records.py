"""Where every benchmark writes: `benchmarks/results/NAME.json`."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def save(name: str, summary: dict[str, Any], details: dict[str, Any], seeds: list[int]) -> Path:
    """Write `summary` (the figures under plain keys) and `details`, with how they were made.

    What says the same as the file that is there leaves it: cells that are summarised anew on
    another machine were not computed there.
    """
    RESULTS.mkdir(exist_ok=True)
    path, there = RESULTS / f"{name}.json", load(name)
    told = json.loads(json.dumps({"summary": summary, "details": details}))
    if told == {key: there[key] for key in told}:
        return path
    content = {
        "name": name,
        "summary": summary,
        "command": f"make bench-{name}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": seeds,
        "commit": COMMIT,
        "host": host(),
        "details": details,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
    return path


def load(name: str) -> dict[str, Any]:
    """Read what `save` wrote; an empty record where nothing was."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {"summary": {}, "details": {}}


def host() -> dict[str, Any]:
    """Describe this machine, and what computes on it."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or "unknown"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


# Read when the program starts: the code that runs, not what was committed since.
COMMIT = _commit()
