"""Files that were made to harm, sent to a running service."""

import base64
import hashlib
import io
import json
import pickle
import socket
import stat
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.torch
import torch

from tests.api.attacks.conftest import KEY, Target
from tests.api.conftest import problem
from tests.automl_compress.data.image_archives import HOSTILE
from tests.automl_compress.networks.program_file.archives import (
    GRAPH,
    archive_of,
    members_of,
    small_program,
    with_graph,
    with_member,
    with_weight,
)
from tests.automl_compress.networks.program_file.test_hostile_programs import nodes_of


class Payload:
    """Leaves a marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


def saved(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    return buffer.getvalue()


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def registered(target: Target, content: bytes, kind: str = "npz") -> httpx.Response:
    """Upload an archive and register it as data."""
    file = target.upload(content)
    assert file.status_code in (200, 201), file.text
    source = {"kind": kind, "file_id": file.json()["id"]}
    return target.http.post("/v1/datasets", json={"name": "x", "source": source})


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pt2", "w.parquet", "w.pt", "../w"])
def test_a_pickle_is_refused_under_every_name(target: Target, name: str) -> None:
    payload = Payload(target.marker)

    for content in (pickle.dumps(payload), pickle.dumps(payload, 0), saved(payload)):
        problem(target.upload(content, name), 415, "unsupported-format")

    target.assert_serves()


def test_the_payload_works_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "m")))  # noqa: S301 - the point of the test

    assert (tmp_path / "m").exists()


def test_pickled_objects_in_an_archive_of_images_do_not_run(target: Target) -> None:
    objects = np.array([Payload(target.marker)] * 4, dtype=object)
    content = npz({"images.npy": npy(objects), "labels.npy": npy(np.arange(4))})

    problem(registered(target, content), 422, "invalid-data")
    target.assert_serves()


def test_an_archive_that_unpacks_to_gigabytes_is_refused_unread(target: Target) -> None:
    header = io.BytesIO()
    told = {"descr": "|u1", "fortran_order": False, "shape": (40_000, 3, 224, 224)}
    np.lib.format.write_array_header_1_0(header, told)
    bomb = npz(
        {"images.npy": header.getvalue() + bytes(50_000_000), "labels.npy": npy(np.arange(9))}
    )

    answer = registered(target, bomb)

    problem(answer, 422, "invalid-data")
    target.assert_serves()


def test_a_symbolic_link_in_an_archive_leads_nowhere(target: Target) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("images.npy")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../../escaped.npy", npy(np.arange(4)))
        archive.writestr("labels.npy", npy(np.arange(4)))

    answer = registered(target, buffer.getvalue())

    assert "root:" not in problem(answer, 422, "invalid-data")["detail"]
    assert not list(target.data_dir.parent.rglob("escaped.npy"))
    target.assert_serves()


@pytest.mark.parametrize(
    "name", ["path that leads out", "symbolic link", "huge picture", "more than is said"]
)
def test_an_archive_of_images_that_was_made_to_harm_is_refused(target: Target, name: str) -> None:
    before = sorted(target.data_dir.parent.rglob("*.png"))

    answer = registered(target, HOSTILE[name].make(), "zip")

    assert HOSTILE[name].says in problem(answer, 422, "invalid-data")["detail"]
    assert sorted(target.data_dir.parent.rglob("*.png")) == before
    target.assert_serves()


@pytest.mark.parametrize("kind", ["sample inputs", "a weight"])
def test_a_program_with_a_pickle_does_not_run_it(target: Target, kind: str) -> None:
    payload = saved(Payload(target.marker))
    if kind == "sample inputs":
        content = with_member("data/sample_inputs/model.pt", payload)
    else:
        members = members_of(with_weight("conv.weight", use_pickle=True))
        content = archive_of({**members, "data/weights/weight_0": payload})
    file = target.upload(content)
    assert file.status_code == 201, file.text

    body = {"name": "x", "program_file_id": file.json()["id"]}
    answer = target.http.post("/v1/models", json=body)

    if kind == "sample inputs":
        assert answer.status_code == 201, "they are not needed, and not read"
    else:
        problem(answer, 422, "invalid-model")
    target.assert_serves()


def test_a_graph_of_ten_thousand_nodes_is_refused(target: Target) -> None:
    file = target.upload(with_graph(nodes_of("relu", 10_000)))
    assert file.status_code == 201, file.text

    body = {"name": "x", "program_file_id": file.json()["id"]}
    answer = target.http.post("/v1/models", json=body)

    assert "nodes" in problem(answer, 422, "invalid-model")["detail"]
    target.assert_serves()


def test_bytes_that_are_not_those_of_the_digest_are_refused(target: Target) -> None:
    content = npz({"images.npy": npy(np.zeros(4)), "labels.npy": npy(np.arange(4))})
    told = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    before = sorted(target.data_dir.glob("files/*"))

    def send(digest: str) -> httpx.Response:
        return target.http.post("/v1/files", content=content, headers={"Repr-Digest": digest})

    problem(send(f"sha-256=:{told}:"), 422, "digest-mismatch")
    for nonsense in ("sha-256=:AAAA:", "sha-256=:====:", "sha-256=::"):
        problem(send(nonsense), 422, "invalid")
    assert sorted(target.data_dir.glob("files/*")) == before


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def tensors(**named: torch.Tensor) -> bytes:
    return safetensors.torch.save(named)


BROKEN_DATA: dict[str, tuple[str, bytes]] = {
    "npz without labels": ("npz", npz({"images.npy": npy(np.zeros((9, 4, 4), np.uint8))})),
    "npz of floats": (
        "npz",
        npz({"images.npy": npy(np.zeros((9, 4, 4))), "labels.npy": npy(np.zeros(9, np.int64))}),
    ),
    "npz of another number of labels": (
        "npz",
        npz({"images.npy": npy(np.zeros((9, 4, 4), np.uint8)), "labels.npy": npy(np.zeros(3))}),
    ),
    "npz of garbage": ("npz", npz({"images.npy": b"x" * 80, "labels.npy": b"x"})),
    "zip without images": ("zip", npz({"class/readme.txt": b"x"})),
    "zip of broken images": ("zip", npz({"train/a/1.png": b"x", "test/a/1.png": b"x"})),
    "parquet of other columns": ("parquet", parquet(x=[1, 2])),
    "parquet of other types": ("parquet", parquet(image=["a"], label=["b"])),
    "parquet of broken images": (
        "parquet",
        parquet(image=[{"bytes": b"x", "path": "y"}], label=[1]),
    ),
    "parquet cut short": ("parquet", b"PAR1" + bytes(40) + b"PAR1"),
}
BROKEN_NETWORKS: dict[str, tuple[str, bytes]] = {
    "weights of other names": ("weights_file_id", tensors(x=torch.zeros(2))),
    "weights that are not finite": (
        "weights_file_id",
        tensors(**{"conv1.weight": torch.full((16, 3, 3, 3), torch.nan)}),
    ),
    "weights cut short": ("weights_file_id", tensors(x=torch.zeros(2000))[:-9]),
    "program without a graph": (
        "program_file_id",
        archive_of({k: v for k, v in members_of(small_program()).items() if k != GRAPH}),
    ),
    "program of garbage": (
        "program_file_id",
        archive_of({**members_of(small_program()), GRAPH: b"x"}),
    ),
    "program with a member cut short": (
        "program_file_id",
        archive_of({**members_of(small_program()), "data/weights/weight_0": b"x"}),
    ),
}


def told_of(target: Target, name: str) -> dict[str, Any]:
    """The problem of a broken file, and the digest that it was uploaded with."""
    field, content = {**BROKEN_DATA, **BROKEN_NETWORKS}[name]
    uploaded = target.upload(content, "mine")
    if uploaded.status_code == 415:  # so broken that it is none of the formats
        return problem(uploaded, 415, "unsupported-format")
    identity = uploaded.json()["id"]
    source: dict[str, Any] = {"kind": field, "file_id": identity}
    body: dict[str, Any] = {"name": "x", "source": source}
    if name in BROKEN_NETWORKS:
        known = {"architecture": {"name": "resnet-20"}} if field == "weights_file_id" else {}
        body = {"name": "x", field: identity, **known}
    elif field == "parquet":
        body["source"] = {"kind": field, "train_file_id": identity, "test_file_id": identity}
    answer = target.http.post(
        "/v1/models" if name in BROKEN_NETWORKS else "/v1/datasets", json=body
    )
    assert answer.status_code == 422, answer.text
    return answer.json()


@pytest.mark.parametrize("name", [*BROKEN_DATA, *BROKEN_NETWORKS])
def test_a_broken_file_is_refused_without_saying_where_it_lies(target: Target, name: str) -> None:
    told = told_of(target, name)

    written = json.dumps(told)
    for folder in (str(target.data_dir), tempfile.gettempdir(), sys.prefix, str(Path.cwd())):
        assert folder not in written, written


def test_an_upload_that_is_cut_short_leaves_nothing(target: Target) -> None:
    address = httpx.URL(target.url)
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Length: 1000000\r\n\r\n"
    ).encode()
    before = target.http.get("/v1/files").json()

    for _ in range(20):
        with socket.create_connection((address.host, address.port or 80)) as connection:
            connection.sendall(head + b"PK\x03\x04" + bytes(10_000))

    target.assert_serves()
    assert target.http.get("/v1/files").json() == before
    assert not list(target.data_dir.glob("partial/*"))
