"""One service in a process of its own, as an operator starts it, for all attacks."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from automl_api.client import Client

KEY = "the operator's own key"
MEMORY_BYTES = 200 * 2**20  # by which the process may grow over all attacks


@dataclass
class Target:
    """A running service, and what can be seen of its process."""

    url: str
    process_id: int
    data_dir: Path
    http: httpx.Client
    marker: Path

    def peak_bytes(self) -> int:
        """The most memory that the process ever had."""
        status = Path(f"/proc/{self.process_id}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return 1024 * int(found[1])

    def upload(self, content: bytes, name: str = "upload") -> httpx.Response:
        return self.http.post("/v1/files", content=content, params={"name": name})

    def assert_serves(self) -> None:
        """The next caller is served, and nothing that was sent has run."""
        assert self.http.get("/v1/jobs").status_code == 200
        assert not self.marker.exists()


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    directory = tmp_path_factory.mktemp("attacked")
    limits = {"WRONG_KEYS_PER_MINUTE": "5", "MAX_UPLOAD_BYTES": "3000000", "KEY": KEY}
    environment = {**os.environ, **{f"AUTOML_COMPRESS_{name}": limits[name] for name in limits}}
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--port", "0", "--no-worker"]
    child = subprocess.Popen(
        [*command, "--data-dir", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    try:
        url = child.stdout.readline().split()[-1]
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as http:
            made = Target(url, child.pid, directory, http, directory / "marker")
            with Client(url, KEY) as client:  # what an idle service has loaded
                client.capabilities()
                list(client.jobs())
            idle_bytes = made.peak_bytes()
            yield made
            assert made.peak_bytes() - idle_bytes < MEMORY_BYTES
            made.assert_serves()
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()
