"""The demo: a real service on loopback, two searches over HTTP, and what came of them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console

from automl_api.client import Client, Job
from automl_api.commands.failure import JobFailed
from automl_api.commands.inputs import weights_metadata
from automl_api.commands.watching import watch
from automl_api.demo_report import Outcome, print_report, report_content
from automl_compress.core.errors import NotFound, StorageFailed

ARCHITECTURE = "resnet-20"
DATA = "digits"
FINETUNE_EPOCHS = 5
START_SECONDS = 60.0
STOP_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo does and where."""

    data_dir: Path
    evaluations: int
    macs_ratio: float
    is_kept: bool = False
    is_json: bool = False


def run_demo(options: DemoOptions) -> None:
    """Start a service, search, print the table.

    Raises:
        JobFailed: a search ended without a result, or the service did not start.
        StorageFailed: the data directory cannot be written.
    """
    began = time.monotonic()
    console = Console(stderr=options.is_json, highlight=False)
    with _service(options.data_dir) as url, Client(url, "demo") as client:
        console.print(
            f"[bold]AutoML Compress[/bold]: ResNet-20 on scikit-learn's digits, keeping "
            f"{100 * options.macs_ratio:.4g}% of its MACs\n"
            f"service on {url}, data in {options.data_dir}"
        )
        _end_earlier(client)
        model, dataset = _register(client)
        searches = {
            # Of the baseline only the figures are wanted.
            "uniform": _submit(client, model, dataset, options, "uniform", 1, []),
            "amc": _submit(client, model, dataset, options, "amc", options.evaluations, ["onnx"]),
        }
        for job in searches.values():
            watch(job)
        outcomes = {name: _fetch(job, options) for name, job in searches.items()}
        seconds = time.monotonic() - began
        if options.is_json:
            sys.stdout.write(json.dumps(report_content(outcomes, seconds)) + "\n")
        else:
            print_report(console, outcomes, seconds)
        if options.is_kept:
            _keep(console, url)


def demo_weights() -> Path:
    """Return the checkpoint that ships with the package."""
    path = Path(str(files("automl_compress.networks") / "weights" / "resnet-20-digits.safetensors"))
    if not path.is_file():
        raise NotFound(
            f"the demo's network {path.name} is not installed; make it with 'automl-compress "
            f"train demo -o {path}'"
        )
    return path


def _end_earlier(client: Client) -> None:
    """Cancel what an interrupted demo left in the same folder; it would be done first."""
    for job in client.jobs():
        if not job.is_terminal:
            job.cancel()


def _register(client: Client) -> tuple[str, str]:
    weights = demo_weights()
    told = weights_metadata(weights)
    # Each is checked in a process of its own, so the two of them take the time of one.
    with ThreadPoolExecutor(2) as pool:
        model = pool.submit(
            client.create_model,
            ARCHITECTURE,
            name="resnet-20 digits",
            config=told["config"],
            weights=weights,
        )
        dataset = pool.submit(
            client.create_dataset,
            {"kind": "builtin", "name": DATA},
            name=DATA,
            options={"normalisation": told["normalisation"]},
        )
        return model.result()["id"], dataset.result()["id"]


def _submit(
    client: Client,
    model: str,
    dataset: str,
    options: DemoOptions,
    searcher: str,
    evaluations: int,
    formats: list[str],
) -> Job:
    return client.submit(
        {
            "name": searcher,
            "model_id": model,
            "dataset_id": dataset,
            "study": {
                "searcher": searcher,
                "budget": {"metric": "macs", "ratio": options.macs_ratio},
                "effort": {"evaluations": evaluations},
                "confirmation": {
                    "top_k": 1,
                    "finetune_epochs": FINETUNE_EPOCHS,
                    "formats": formats,
                },
            },
        }
    )


def _fetch(job: Job, options: DemoOptions) -> Outcome:
    folder = options.data_dir / str(job.content["name"])
    folder.mkdir(exist_ok=True)
    document = job.best()
    document.save(folder / "policy.json")
    network = job.download_network(document, folder / "network.safetensors")
    return Outcome(job.content, document, folder / "policy.json", network)


@contextmanager
def _service(data_dir: Path) -> Generator[str]:
    """Run `automl-compress serve` in a process of its own and yield its address."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        log = (data_dir / "service.log").open("w")
    except OSError as error:
        raise StorageFailed(
            f"{data_dir} cannot be written ({error.strerror}); choose another --data-dir"
        ) from error
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--json", "--no-auth", "--port=0"]
    with log:
        process = subprocess.Popen(
            [*command, "--with-parent", "--data-dir", str(data_dir)],
            stdin=subprocess.PIPE,  # it ends when the demo does, however that happens
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(),
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the service
        )
        try:
            yield _address(process, data_dir)
        finally:
            _stop(process)


def _environment() -> dict[str, str]:
    """The demo's service has its own database, whatever the shell says."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("AUTOML_COMPRESS_")
    }
    return {**kept, "AUTOML_COMPRESS_POLL_SECONDS": "0.1"}


def _address(process: subprocess.Popen[str], data_dir: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        content: dict[str, Any] = json.loads(line)
        return content["url"]
    except ValueError:
        code = process.wait(START_SECONDS)
        last = (data_dir / "service.log").read_text().strip().splitlines()[-1:] or ["no message"]
        raise JobFailed(f"the service did not start (exit code {code}): {last[0]}") from None


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _keep(console: Console, url: str) -> None:
    console.print(f"\nthe service stays up at {url}; Ctrl-C ends it")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
