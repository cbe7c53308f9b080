"""Runs the intake's child process and reads its answer."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from automl_api.problem import Problem
from automl_api.sources import DataSource, ModelSource

TIME_LIMIT_SECONDS = 600
#: Children take some 300 MB each, and requests that wait for them a thread of the service's 40.
MOST_CHILDREN, MOST_WAITING, RETRY_SECONDS = 3, 16, 10
_RUNNING = threading.BoundedSemaphore(MOST_CHILDREN)
_WAITING = threading.BoundedSemaphore(MOST_WAITING)


def inspect_model(source: ModelSource, data_dir: Path) -> dict[str, Any]:
    """Build, fill and trace a network in a child process.

    Returns:
        `fingerprint` of graph, weights and a program's file, `input_shape`, `num_classes`, the
        shapes of all `outputs`, the number of the `output` that is scored, `totals`, and the
        whole `graph` as `graph_to_json` writes it.

    Raises:
        Problem: the network cannot be used; status and code say why.
    """
    return _ask({"kind": "model", "source": source.to_json(), "data_dir": str(data_dir)})


def inspect_dataset(source: DataSource, data_dir: Path) -> dict[str, Any]:
    """Read a data set in a child process.

    Returns:
        `num_classes`, `input_shape`, `normalisation`, and of each split `images` and
        `provenance`.

    Raises:
        Problem: the data cannot be used; status and code say why.
    """
    return _ask({"kind": "dataset", "source": source.to_json(), "data_dir": str(data_dir)})


def sample_images(source: DataSource, data_dir: Path) -> list[dict[str, Any]]:
    """Take some training images of a registered data set in a child process.

    Returns:
        `label`, `place` in the train split, and `png` in base64, of each.

    Raises:
        Problem: the data cannot be read any more; status and code say why.
    """
    told = {"kind": "samples", "source": source.to_json(), "data_dir": str(data_dir)}
    return _ask(told)["images"]


def check_policy(
    source: ModelSource, document: dict[str, Any], weights: str | None, data_dir: Path
) -> dict[str, Any]:
    """Cut a network as a user's policy says, in a child process.

    Args:
        source: of the uncut network.
        document: the policy's.
        weights: where the compressed network's file lies, relative to `data_dir`.
        data_dir: where all files lie.

    Returns:
        `is_same_weights`: whether the uncut network has the weights that the policy is for.

    Raises:
        Problem: the policy is not for this network; status and code say why.
    """
    told = {"model": source.to_json(), "document": document, "weights": weights}
    return _ask({"kind": "policy", "source": told, "data_dir": str(data_dir)})


def inspect_installation() -> dict[str, Any]:
    """Ask a child process what is installed.

    Returns:
        `architectures` with the fields of their configs, `datasets` and `criteria`.
    """
    return _ask({"kind": "installation", "source": {}, "data_dir": ""})


@contextmanager
def _place() -> Generator[None]:
    """Take a place among the children, or refuse: a request that waits holds a thread."""
    if not _WAITING.acquire(blocking=False):
        raise Problem(
            503,
            "busy",
            f"{MOST_WAITING} uploads are being checked or wait for that; try again in "
            f"{RETRY_SECONDS} s",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
    try:
        with _RUNNING:
            yield
    finally:
        _WAITING.release()


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    with _place():
        return _asked(question)


def _asked(question: dict[str, Any]) -> dict[str, Any]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    }
    try:
        child = subprocess.run(
            [sys.executable, "-m", "automl_api.intake.child"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Problem(
            422,
            "unsafe-file",
            f"checking the {question['kind']} took longer than {TIME_LIMIT_SECONDS} s; give a "
            "smaller one",
        ) from error
    return _answer_of(child, question["kind"])


def _answer_of(child: subprocess.CompletedProcess[str], kind: str) -> dict[str, Any]:
    if child.returncode > 0:
        raise RuntimeError(f"checking the {kind} failed:\n{child.stderr}")
    if child.returncode < 0:
        raise Problem(
            422,
            "unsafe-file",
            f"checking the {kind} was ended by {signal.Signals(-child.returncode).name}: it "
            "needs more memory or time than one upload may use; give a smaller one",
        )
    answer: dict[str, Any] = json.loads(child.stdout)
    if "problem" in answer:
        raise Problem(**answer["problem"])
    return answer
