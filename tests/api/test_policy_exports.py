"""A policy's network in further formats: asked for over HTTP, written by a worker's own steps."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from automl_api.cli import app
from automl_compress.core.document import PolicyDocument
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.store import artifacts, jobs
from tests.api.conftest import RunningService, problem
from tests.api.test_evaluations import found, work
from tests.api.test_policies import cut, half

Json = dict[str, Any]
__all__ = ["cut", "found", "half"]
needs_onnx = pytest.mark.skipif(not is_installed(*ONNX_PACKAGES), reason="needs [engines]")


def ask(service: RunningService, policy_id: str, wanted: str) -> Any:
    return service.post(f"/v1/policies/{policy_id}/artifacts", {"format": wanted})


@needs_onnx
def test_a_format_is_made_once_and_then_there(
    service: RunningService, found: tuple[str, torch.nn.Module, PolicyDocument], tmp_path: Path
) -> None:
    policy_id, small, _ = found

    first, again = ask(service, policy_id, "onnx"), ask(service, policy_id, "onnx")

    assert (first.status_code, again.status_code) == (202, 202), first.text
    job = first.json()["job"]
    assert again.json()["job"]["id"] == job["id"], "while it is under way it is not begun again"
    assert (job["kind"], job["policy_id"], job["dataset_id"]) == ("export", policy_id, None)
    assert first.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert first.json()["artifacts"] == []
    assert "onnx" in service.http.get(f"/policies/{policy_id}").text
    work(service, job["id"])
    done = service.http.get(f"/v1/jobs/{job['id']}").json()
    assert done["status"] == "succeeded", done["error"]
    assert done["result"]["agreement"]["difference"] < 1e-3
    there = ask(service, policy_id, "onnx")
    assert there.status_code == 200
    (artifact,) = there.json()["artifacts"]
    assert (artifact["name"], artifact["kind"]) == ("network.onnx", "onnx")
    assert there.json()["job"] is None
    listed = service.http.get(f"/v1/policies/{policy_id}/artifacts").json()["data"]
    assert artifact in listed
    assert artifact["id"] in service.http.get(f"/policies/{policy_id}").text
    moved = service.http.get(f"/jobs/{job['id']}", follow_redirects=False)
    assert moved.headers["Location"].endswith(f"policies/{policy_id}#apply-title")

    import onnxruntime

    with service.client() as client:
        path = client.download(artifact["id"], tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(path.read_bytes())
    batch = torch.randn(3, 1, 8, 8)
    (told,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    with torch.inference_mode():
        assert torch.allclose(torch.from_numpy(told), small(batch), atol=1e-4)


def test_what_was_removed_is_made_again(
    service: RunningService, model: Json, cut: PolicyDocument
) -> None:
    with service.client() as client:
        policy_id = client.bring_policy(cut, model["id"])["id"]
    job = ask(service, policy_id, "safetensors").json()["job"]
    work(service, job["id"])
    made = ask(service, policy_id, "safetensors").json()["artifacts"]
    (network,) = [each for each in made if each["kind"] == "network"]
    weights = load_file(service.files.directory / f"artifacts/{job['id']}/network.safetensors")
    assert sum(each.numel() for each in weights.values()) >= cut.after.parameters
    with service.database.session() as session:
        from automl_compress.store.retention import note_removed

        note_removed(session, [network["id"]])

    assert ask(service, policy_id, "safetensors").status_code == 202


def test_requests_at_the_same_moment_begin_one_job(
    service: RunningService, model: Json, cut: PolicyDocument
) -> None:
    with service.client() as client:
        policy_id = client.bring_policy(cut, model["id"])["id"]
    told: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: told.append(ask(service, policy_id, "pt2").json()["job"]["id"])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 4
    assert len(set(told)) == 1
    service.http.post(f"/v1/jobs/{told[0]}/cancel")
    after = ask(service, policy_id, "pt2").json()["job"]["id"]
    assert after != told[0], "what was cancelled can be asked for again"
    service.http.post(f"/v1/jobs/{after}/cancel")


def test_a_network_whose_weights_are_gone_is_refused(
    service: RunningService, found: tuple[str, torch.nn.Module, PolicyDocument]
) -> None:
    policy_id, *_ = found
    with service.database.session() as session:
        from automl_compress.store import policies

        job_id = policies.get(session, policy_id).job_id or ""
        (row,) = [each for each in artifacts.of_job(session, job_id) if each.kind == "network"]
        row.removed_at = jobs.now()
    try:
        told = problem(ask(service, policy_id, "bundle"), 409, "wrong-state")
    finally:
        with service.database.session() as session:
            artifacts.get(session, row.id).removed_at = None
    assert "is gone since" in told["detail"]


def test_wrong_formats_and_policies_are_refused(
    service: RunningService, found: tuple[str, torch.nn.Module, PolicyDocument]
) -> None:
    told = problem(ask(service, found[0], "tflite"), 422, "invalid")
    assert told["errors"][0]["pointer"] == "/format"
    assert "'openvino'" in told["detail"]
    problem(ask(service, "pol_0", "onnx"), 404, "not-found")


def test_the_command_line_has_the_service_write_it(
    service: RunningService, model: Json, cut: PolicyDocument, tmp_path: Path
) -> None:
    with service.client() as client:
        policy_id = client.bring_policy(cut, model["id"])["id"]
    output = tmp_path / "small.pt2"
    place = ["--url", service.url, "--json"]
    told: list[Any] = []

    def export() -> None:
        told.append(CliRunner().invoke(app, ["export", policy_id, "-o", str(output), *place]))

    thread = threading.Thread(target=export)
    thread.start()
    waiting: list[Json] = []
    while not waiting and thread.is_alive():
        query = f"/v1/jobs?kind=export&status=queued&policy_id={policy_id}"
        listed = service.http.get(query).json()["data"]
        waiting = [each for each in listed if each["export"]["format"] == "pt2"]
    work(service, waiting[0]["id"])
    thread.join()

    assert told[0].exit_code == 0, told[0].exception
    assert json.loads(told[0].stdout)["files"] == [str(output)]
    assert output.read_bytes()[:2] == b"PK"
    ended = CliRunner().invoke(app, ["jobs", "wait", waiting[0]["id"], "--url", service.url])
    assert ended.exit_code == 0, ended.exception
    assert "made network.pt2" in ended.stdout
    again = CliRunner().invoke(app, ["export", policy_id, "-o", str(output), *place])
    assert "exists already" in str(again.exception)
