import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from automl_compress.core.document import PolicyDocument
from tests.api.test_cli import children_of, run, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "automl_api.cli", "demo"]


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
    again = apply_in_a_new_process(report["amc"]["snippet"], tmp_path)
    stored = load_file(tmp_path / report["amc"]["network"])
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[name], stored[name]) for name in stored)


def apply_in_a_new_process(snippet: str, folder: Path) -> dict[str, torch.Tensor]:
    """Run the three lines that the demo prints, with what they make written to a file."""
    program = f"{snippet}\nfrom safetensors.torch import save_file\n"
    program += "save_file(network.state_dict(), 'again.safetensors')\n"
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return load_file(folder / "again.safetensors")


def test_the_demo_leaves_nothing_running_when_it_is_interrupted(tmp_path: Path) -> None:
    demo = subprocess.Popen(COMMAND, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    assert "AutoML Compress" in demo.stdout.readline()  # the service is up
    service = children_of(demo.pid)
    workers = wait_for(lambda: [each for pid in service for each in children_of(pid)])
    time.sleep(2)

    demo.send_signal(signal.SIGINT)

    assert demo.wait(60) == 130
    demo.stdout.close()
    assert service
    assert workers
    assert not [pid for pid in [*service, *workers] if Path(f"/proc/{pid}").exists()]


def test_a_kept_demo_leaves_its_service_up(tmp_path: Path) -> None:
    command = [*COMMAND, "--keep", "--evaluations", "1"]
    demo = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert demo.stdout is not None
    try:
        line = next(each for each in demo.stdout if "stays up at" in each)
        url = line.split()[5].rstrip(";")
        assert "succeeded" in run("jobs", "ls", url=url).stdout
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
        demo.stdout.close()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    told = run("demo", "--data-dir", str(tmp_path / "file"))

    assert told.returncode == 1
    assert "choose another --data-dir" in told.stderr
