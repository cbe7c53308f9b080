"""Policies that users bring: stored, tried on their network, evaluated and compared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from automl_api.cli import app
from automl_compress.core.document import PolicyDocument, RepairNote
from automl_compress.export.documents import network_bytes
from tests.api.accounts import DOCUMENT
from tests.api.conftest import RunningService, problem
from tests.api.test_evaluations import half_of_the_network, other, work

Json = dict[str, Any]
__all__ = ["other"]


@pytest.fixture(scope="module")
def half() -> tuple[torch.nn.Module, PolicyDocument]:
    return half_of_the_network()


@pytest.fixture(scope="module")
def cut(half: tuple[torch.nn.Module, PolicyDocument]) -> PolicyDocument:
    """A policy of somebody's own that cuts and does nothing else."""
    return replace(half[1], repair=RepairNote("none"), id=None, provenance={"by": "hand"})


@pytest.fixture(scope="module")
def tuned(
    half: tuple[torch.nn.Module, PolicyDocument], tmp_path_factory: pytest.TempPathFactory
) -> tuple[PolicyDocument, Path]:
    """The same, tuned, and its network's file."""
    import hashlib

    content = network_bytes(half[0])
    path = tmp_path_factory.mktemp("tuned") / "network.safetensors"
    path.write_bytes(content)
    note = RepairNote("fine-tuned", f"sha256:{hashlib.sha256(content).hexdigest()}")
    return replace(half[1], repair=note, provenance={"by": "hand"}), path


def test_a_brought_policy_is_stored_once_and_comes_back(
    service: RunningService, model: Json, cut: PolicyDocument
) -> None:
    body = {"model_id": model["id"], "document": cut.to_json()}

    first, again = service.post("/v1/policies", body), service.post("/v1/policies", body)

    assert (first.status_code, again.status_code) == (201, 200), first.text
    told = first.json()
    assert again.json() == told
    assert first.headers["Location"] == f"/v1/policies/{told['id']}"
    assert (told["job_id"], told["model_id"]) == (None, model["id"])
    with service.client() as client:
        assert client.policy(told["id"]) == cut
        assert [each["id"] for each in client.policies(model_id=model["id"])] == [told["id"]]
    assert told["id"] in service.http.get(f"/models/{model['id']}").text
    page = service.http.get(f"/policies/{told['id']}")
    assert page.status_code == 200
    assert "Brought by" in page.text
    problem(service.http.delete(f"/v1/models/{model['id']}"), 409, "in-use")


def test_a_brought_policy_is_scored_and_compared(
    service: RunningService,
    model: Json,
    cut: PolicyDocument,
    tuned: tuple[PolicyDocument, Path],
    other: str,
) -> None:
    with service.client() as client:
        plain = client.bring_policy(cut, model["id"])["id"]
        document, weights = tuned
        better = client.bring_policy(document, model["id"], weights=weights)["id"]
        assert client.policy_diff(plain, better)["is_same_network"]
        for each in (plain, better):
            job = client.evaluate(each, other)
            work(service, job.id)
            done = job.refresh().content
            assert done["status"] == "succeeded", done["error"]
            assert done["result"]["compressed"]["total"] > 0
    told = problem(service.http.delete(f"/v1/policies/{better}"), 409, "in-use")
    assert "jobs on policy" in told["detail"]
    named = service.http.get(f"/v1/policies?model_id={model['id']}").json()["data"]
    (file_id,) = {each["weights_file_id"] for each in named} - {None}
    problem(service.http.delete(f"/v1/files/{file_id}"), 409, "in-use")


def test_a_tuned_network_takes_its_weights_along(
    service: RunningService, model: Json, tuned: tuple[PolicyDocument, Path], other: str
) -> None:
    document = replace(tuned[0], created="2026-01-01T00:00:00Z")
    with service.client() as client:
        stored = client.bring_policy(document, model["id"])
        path = f"/v1/policies/{stored['id']}/evaluate"
        refused = problem(service.post(path, {"dataset_id": other}), 409, "wrong-state")
        assert "weights_file_id" in refused["detail"]

        again = client.bring_policy(document, model["id"], weights=tuned[1])

        assert again["id"] == stored["id"]
        assert again["weights_file_id"].startswith("fil_")
        assert service.post(path, {"dataset_id": other}).status_code == 202


def test_what_is_not_for_the_network_is_refused_by_name(
    service: RunningService, model: Json, cut: PolicyDocument, tuned: tuple[PolicyDocument, Path]
) -> None:
    def refusal(document: Json, code: str, **more: Any) -> Json:
        body = {"model_id": model["id"], "document": document, **more}
        return problem(service.post("/v1/policies", body), 422, code)

    foreign = refusal(DOCUMENT.to_json(), "fingerprint-mismatch")
    assert foreign["errors"][0]["pointer"] == "/document/model/fingerprint/graph"
    changed = cut.to_json()
    changed["groups"][0]["kept"] = [0]
    assert "the document was changed" in refusal(changed, "invalid-policy")["detail"]
    assert refusal({}, "invalid-policy")["errors"][0]["pointer"] == "/document"
    cheaper = replace(cut, after=replace(cut.after, macs=1))
    assert "/totals/macs/after" in refusal(cheaper.to_json(), "invalid-policy")["detail"]
    clipped = replace(cut, cuts=cut.cuts[1:])
    assert "cannot run" in refusal(clipped.to_json(), "fingerprint-mismatch")["detail"]
    with service.client() as client:
        file_id = client.upload(tuned[1])["id"]
    named = refusal(cut.to_json(), "weights-mismatch", weights_file_id=file_id)
    assert named["errors"][0]["pointer"] == "/weights_file_id"
    wrong = replace(tuned[0], repair=RepairNote("fine-tuned", f"sha256:{'0' * 64}"))
    assert (
        "SHA-256" in refusal(wrong.to_json(), "weights-mismatch", weights_file_id=file_id)["detail"]
    )
    body = {"model_id": f"mdl_{'0' * 20}", "document": cut.to_json()}
    missing = problem(service.post("/v1/policies", body), 422, "unknown-name")
    assert missing["errors"][0]["pointer"] == "/model_id"


def test_a_policy_is_brought_and_removed_from_the_command_line(
    service: RunningService, model: Json, cut: PolicyDocument, tmp_path: Path
) -> None:
    place = ["--url", service.url]
    replace(cut, created="2026-02-02T00:00:00Z").save(tmp_path / "policy.json")

    made = CliRunner().invoke(
        app, ["policies", "push", str(tmp_path / "policy.json"), model["id"], "--json", *place]
    )

    identity = json.loads(made.stdout)["id"]
    assert identity in CliRunner().invoke(app, ["policies", "ls", *place]).stdout
    assert CliRunner().invoke(app, ["policies", "rm", identity, *place]).exit_code == 0
    problem(service.http.get(f"/v1/policies/{identity}"), 404, "not-found")
