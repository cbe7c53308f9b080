import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from automl_api.commands.inputs import weights_metadata
from automl_api.sources import DataSource
from automl_compress.compress.candidate import cut_network
from automl_compress.core.document import PolicyDocument
from automl_compress.networks.architectures import build_network
from automl_compress.networks.trace import trace
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS
from tests.api.test_cli import children_of, run, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "automl_api.cli", "demo"]


def hear_interrupts() -> None:
    """Whoever runs the tests in the background has them ignore SIGINT, and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_demo_ends_with_a_smaller_network_that_can_be_made_again(tmp_path: Path) -> None:
    told = run("demo", "--evaluations", "4", "--json", cwd=tmp_path)

    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["baseline"]["images"] == 400
    assert report["amc"]["macs"] <= 0.5 * report["baseline"]["macs"]
    assert report["amc"]["interval"][0] < report["amc"]["accuracy"] < report["amc"]["interval"][1]
    assert report["amc"]["trials"] == 4
    document = PolicyDocument.load(tmp_path / report["amc"]["policy"])
    assert document.after.macs == report["amc"]["macs"]
    split = digits_of_the_demo()
    save_file({"images": split.images, "labels": split.labels}, tmp_path / "test.safetensors")
    stored = stored_network(document, tmp_path / report["amc"]["network"])
    expected = logits_of(stored, split.images)
    again = apply_in_a_new_process(report["amc"]["snippet"], tmp_path)
    assert torch.equal(again["logits"], expected), "not the bits that the stored network gives"
    assert torch.equal(again["alone"], logits_of(stored, split.images[:1]))
    correct = int((expected.argmax(1) == split.labels).sum())
    assert correct / len(split.labels) == report["amc"]["accuracy"], "what the job had measured"
    applied = apply_by_command(report["amc"], tmp_path)
    state = stored.state_dict()
    assert applied.keys() == state.keys()
    assert all(torch.equal(applied[name], state[name]) for name in state)


class Digits(NamedTuple):
    """The test split as the network sees it."""

    images: torch.Tensor
    labels: torch.Tensor


def digits_of_the_demo() -> Digits:
    normalisation = weights_metadata(DIGITS_WEIGHTS)["normalisation"]
    data = DataSource("builtin", ("digits",), {"normalisation": normalisation}).load(Path())
    images, labels = zip(*data.split("test").batches(400), strict=True)
    return Digits(torch.cat(images), torch.cat(labels))


def stored_network(document: PolicyDocument, weights: Path) -> nn.Module:
    """Build the job's network without `apply`: the tracer cuts, the stored file fills."""
    uncut = build_network("resnet-20", DIGITS_CONFIG)
    kept = [torch.tensor(row.kept) for row in document.groups]
    module = cut_network(trace(uncut, document.model.input_shape), kept)
    module.load_state_dict(load_file(weights))
    return module.eval()


def logits_of(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([module(batch) for batch in images.split(32)])


# No socket opens: the service has ended, and nothing else may be asked.
OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
        raise RuntimeError(event)
sys.addaudithook(refuse)
"""
LOGITS = """
import torch
from safetensors.torch import load_file, save_file
images = load_file("test.safetensors")["images"]
with torch.inference_mode():
    logits = torch.cat([network(batch) for batch in images.split(32)])
    alone = network(images[:1])
save_file({"logits": logits, "alone": alone}, "logits.safetensors")
"""


def apply_in_a_new_process(snippet: str, folder: Path) -> dict[str, torch.Tensor]:
    """Run the three lines that the demo prints, and the network that they make."""
    program = f"{OFFLINE}\n{snippet}\n{LOGITS}"
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return load_file(folder / "logits.safetensors")


def apply_by_command(told: dict[str, str], folder: Path) -> dict[str, torch.Tensor]:
    files = ["--weights", str(DIGITS_WEIGHTS), "--tuned", told["network"]]

    done = run("apply", told["policy"], *files, "-o", "applied.safetensors", cwd=folder)

    assert done.returncode == 0, done.stderr
    return load_file(folder / "applied.safetensors")


def test_the_demo_leaves_nothing_running_when_it_is_interrupted(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        COMMAND, cwd=tmp_path, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts
    )
    assert demo.stdout is not None
    assert "AutoML Compress" in demo.stdout.readline()  # the service is up
    service = children_of(demo.pid)
    workers = wait_for(lambda: [each for pid in service for each in children_of(pid)])
    time.sleep(2)

    demo.send_signal(signal.SIGINT)

    assert demo.wait(180) == 130
    demo.stdout.close()
    assert service
    assert workers
    assert not [pid for pid in [*service, *workers] if Path(f"/proc/{pid}").exists()]


def test_a_kept_demo_leaves_its_service_up(tmp_path: Path) -> None:
    command = [*COMMAND, "--keep", "--evaluations", "1"]
    demo = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=hear_interrupts,
    )
    assert demo.stdout is not None
    try:
        line = next(each for each in demo.stdout if "stays up at" in each)
        url = line.split()[5].rstrip(";")
        assert "succeeded" in run("jobs", "ls", url=url).stdout
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(180) == 0
        demo.stdout.close()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    told = run("demo", "--data-dir", str(tmp_path / "file"))

    assert told.returncode == 1
    assert "choose another --data-dir" in told.stderr
