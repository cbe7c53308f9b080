import hashlib
import io
import resource
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from automl_compress.store import files as file_rows
from tests.api.conftest import (
    RunningService,
    grey_images,
    problem,
    write_npz,
    write_weights,
)


def upload(service: RunningService, content: bytes, name: str = "upload") -> httpx.Response:
    return service.http.post("/v1/files", content=content, params={"name": name})


def count_files(service: RunningService) -> int:
    with service.database.reading() as session:
        return len(file_rows.page(session, limit=200).rows)


def stored_bytes(service: RunningService) -> list[str]:
    return sorted(path.name for path in service.settings.data_dir.glob("files/*"))


def safetensors_bytes(tmp_path: Path, seed: int = 0) -> bytes:
    array = np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32)
    return write_weights(tmp_path / "w.safetensors", weight=array).read_bytes()


def test_a_safetensors_file_is_stored_under_its_digest(
    service: RunningService, tmp_path: Path
) -> None:
    content = safetensors_bytes(tmp_path)

    response = upload(service, content, "../../etc/my weights.safetensors")

    assert response.status_code == 201
    stored = response.json()
    assert stored["format"] == "safetensors"
    assert stored["purpose"] == "model"
    assert stored["name"] == "my weights.safetensors"
    assert stored["size_bytes"] == len(content)
    assert stored["sha256"] == hashlib.sha256(content).hexdigest()
    assert response.headers["Location"] == f"/v1/files/{stored['id']}"
    assert service.http.get(response.headers["Location"]).json() == stored
    assert (service.settings.data_dir / f"files/{stored['sha256']}.safetensors").exists()


def test_the_same_bytes_give_the_same_file(service: RunningService, tmp_path: Path) -> None:
    content = safetensors_bytes(tmp_path, seed=1)

    first, second = upload(service, content, "a"), upload(service, content, "b")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_npz_and_parquet_are_told_by_their_content(service: RunningService, tmp_path: Path) -> None:
    archive = write_npz(tmp_path / "images.npz", *grey_images()).read_bytes()
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "t.parquet")

    assert upload(service, archive, "no.suffix").json()["format"] == "npz"
    table = upload(service, (tmp_path / "t.parquet").read_bytes(), "x.npz").json()
    assert table["format"] == "parquet"


def test_a_zip_archive_that_begins_with_a_text_is_refused_by_who_reads_it(
    service: RunningService,
) -> None:
    def uploaded(first: str) -> dict[str, str]:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(first, "of what lies in it")
        return upload(service, buffer.getvalue()).json()

    files = [uploaded(each) for each in ("images/readme.md", "labels.csv", "cat/1.PNG", "README")]
    body = {"name": "x", "source": {"kind": "zip", "file_id": files[-1]["id"]}}
    refused = problem(service.post("/v1/datasets", body), 422, "invalid-data")

    assert [each["format"] for each in files] == ["zip"] * 4
    assert "README" in refused["detail"]


def test_what_is_no_known_format_is_refused_and_leaves_nothing(
    service: RunningService, tmp_path: Path
) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "network.pt")
    pickled = (tmp_path / "network.pt").read_bytes()
    whole = safetensors_bytes(tmp_path, seed=2)
    before = count_files(service), stored_bytes(service)

    for content in (b"", b"hello", pickled, whole[:40], b"PAR1 without an end", b"PK\x03\x04"):
        answer = problem(upload(service, content), 415, "unsupported-format")
        assert "safetensors" in answer["detail"]

    assert (count_files(service), stored_bytes(service)) == before
    assert not list(service.settings.data_dir.glob("partial/*"))


def test_a_file_that_is_too_large_is_refused_by_its_declared_length(
    service: RunningService,
) -> None:
    answer = problem(upload(service, bytes(3_000_001)), 413, "too-large")

    assert answer["limit_bytes"] == 3_000_000


def test_a_file_that_is_too_large_is_refused_before_it_has_ended(
    service: RunningService,
) -> None:
    address = httpx.URL(service.url)
    head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (100_000, bytes(100_000))

    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall(head + chunk * 31)  # and the chunk that would end it is never sent
        answer = connection.recv(10_000)

    assert answer.startswith(b"HTTP/1.1 413")
    assert not list(service.settings.data_dir.glob("partial/*"))


def test_files_are_listed_in_pages_the_newest_first(
    service: RunningService, tmp_path: Path
) -> None:
    made = [upload(service, safetensors_bytes(tmp_path, seed)).json() for seed in (10, 11, 12)]

    page = service.http.get("/v1/files", params={"limit": 2}).json()
    rest = service.http.get(page["next"]).json()

    assert [each["id"] for each in page["data"]] == [made[2]["id"], made[1]["id"]]
    assert page["has_more"]
    assert rest["data"][0]["id"] == made[0]["id"]


def test_an_unknown_file_is_not_found(service: RunningService) -> None:
    problem(service.http.get("/v1/files/fil_00000000000000000000"), 404, "not-found")


@pytest.mark.e2e
@pytest.mark.slow
def test_a_full_disk_is_said_and_the_service_goes_on(tmp_path: Path) -> None:
    """No file of the service may grow beyond 2 MB, which the kernel enforces as on a full disk."""

    def limit_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    command = [sys.executable, "-m", "automl_api.cli", "serve", "--port", "0", "--no-worker"]
    child = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit_files,
    )
    assert child.stdout is not None
    try:
        url = child.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            large = np.zeros((600_000, 4), np.float32)
            content = write_weights(tmp_path / "large.safetensors", weight=large).read_bytes()

            answer = problem(http.post("/v1/files", content=content), 507, "storage-failed")

            assert "nothing was stored" in answer["detail"]
            assert http.get("/v1/files").json()["data"] == []
            assert not list(tmp_path.glob("partial/*"))
            assert not list(tmp_path.glob("files/*"))
            small = http.post("/v1/files", content=safetensors_bytes(tmp_path))
            assert small.status_code == 201
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()
