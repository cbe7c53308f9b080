import json
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from automl_api.app import create_app
from automl_api.cli import main
from automl_api.client import Client
from automl_api.connections import server_of
from automl_api.serving import listen
from automl_api.settings import Settings
from automl_api.sources import DataSource, ModelSource
from automl_compress.networks import __path__ as networks_path
from automl_compress.store import ArtifactFiles, Database

DIGITS_CONFIG = {"in_channels": 1, "num_classes": 10, "image_size": 8}
DIGITS_WEIGHTS = Path(networks_path[0]) / "weights" / "resnet-20-digits.safetensors"


@dataclass
class RunningService:
    """A service without a worker, its tables, and a plain HTTP client."""

    url: str
    settings: Settings
    database: Database
    files: ArtifactFiles
    http: httpx.Client

    def client(self) -> Client:
        return Client(self.url)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=headers)


@contextmanager
def running_service(settings: Settings) -> Iterator[RunningService]:
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    options = {"log_level": "error", "timeout_graceful_shutdown": 1}
    server = server_of(create_app(settings), settings, **options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    database = Database(settings.tables_url)
    try:
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                thread.join(0.01)
            yield RunningService(url, settings, database, ArtifactFiles(settings.data_dir), http)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        database.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningService]:
    directory = tmp_path_factory.mktemp("service")
    with running_service(Settings(data_dir=directory, max_upload_bytes=3_000_000)) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def inspected_once() -> Iterator[None]:
    """Let the intake's child process, which takes seconds, read the same thing once a session."""
    with pytest.MonkeyPatch.context() as patched:
        for place in ("models.endpoints.inspect_model", "datasets.endpoints.inspect_dataset"):
            inspect = resolve_name(f"automl_api.{place}")
            patched.setattr(f"automl_api.{place}", _remembering(inspect))
        yield


def _remembering(inspect: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}

    def inspected(source: ModelSource | DataSource, data_dir: Path) -> dict[str, Any]:
        key = _contents(source, data_dir)
        if key is None:
            return inspect(source, data_dir)
        if key not in told:
            told[key] = inspect(source, data_dir)  # a refusal is asked for again
        return deepcopy(told[key])

    return inspected


def _contents(source: ModelSource | DataSource, data_dir: Path) -> str | None:
    """All that an answer depends on; None where that is more than is looked at here."""
    told = source.to_json()
    if isinstance(source, DataSource):
        return json.dumps(told) if source.kind == "builtin" else None
    for name in ("weights", "program"):
        if told[name] is not None:
            path = data_dir / told[name]
            told[name] = sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"
    return json.dumps(told)


@pytest.fixture(scope="module")
def model(service: RunningService) -> dict[str, Any]:
    """The digits network with its trained weights."""
    with service.client() as client:
        return client.create_model("resnet-20", config=DIGITS_CONFIG, weights=DIGITS_WEIGHTS)


@pytest.fixture(scope="module")
def dataset(service: RunningService) -> dict[str, Any]:
    with service.client() as client:
        return client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")


@pytest.fixture
def refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What the command line says of wrong usage, in this process and the test's folder.

    A process of its own takes seconds to import what it needs to find out.
    """

    def refusal(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["automl-compress", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return refusal


def job_body(model: dict[str, Any], dataset: dict[str, Any], **study: Any) -> dict[str, Any]:
    """The smallest valid body of `POST /v1/jobs`, with some of the study replaced."""
    return {
        "model_id": model["id"],
        "dataset_id": dataset["id"],
        "study": {
            "searcher": "random",
            "budget": {"metric": "macs", "ratio": 0.5},
            "effort": {"evaluations": 10},
            **study,
        },
    }


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the form that every error has, and return the document."""
    content = response.json()
    assert (response.status_code, content["code"]) == (status, code), content
    assert response.headers["Content-Type"] == "application/problem+json"
    assert content["status"] == status
    assert content["type"] == f"/problems/{code}"
    assert content["title"]
    assert content["detail"]
    assert content["instance"] == response.request.url.path
    assert content["request_id"] == response.headers["X-Request-Id"]
    return content


def write_npz(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path, images=images, labels=labels)
    return path


def grey_images(count: int = 40, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    return images, np.arange(count) % 10


def write_weights(path: Path, **arrays: np.ndarray) -> Path:
    save_file(arrays, path)
    return path


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
