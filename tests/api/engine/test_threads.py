"""A worker that is started by hand, without the environment that `serve` gives its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

CORES = len(os.sched_getaffinity(0))  # torch takes no more threads than that

# The command's own way up to where a worker would serve.
PROGRAM = """
import os, sys, threading
from automl_api import engine
from automl_api.cli import main
from automl_api.engine.worker import run_worker

stop = threading.Event()
stop.set()

def serve_worker(settings):
    run_worker(settings, stop)
    assert "torch" not in sys.modules
    import torch
    print(torch.get_num_threads(), os.environ["OMP_WAIT_POLICY"], flush=True)
    os._exit(0)

engine.serve_worker = serve_worker
sys.argv = ["automl-compress", "worker"]
main()
"""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, "1 PASSIVE"),
        ({"OMP_NUM_THREADS": str(CORES), "OMP_WAIT_POLICY": "ACTIVE"}, f"{CORES} ACTIVE"),
    ],
)
def test_a_worker_uses_one_thread_unless_it_is_told_otherwise(
    tmp_path: Path, told: dict[str, str], expected: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    place = {"AUTOML_COMPRESS_DATA_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, **place, **told},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected
