"""Evaluations: submitted over HTTP, run by a worker's own steps, on images of another set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from automl_api.client import Client
from automl_api.engine.execution import JobExecution
from automl_api.engine.kinds import PipelineOfKinds
from automl_compress.compress.candidate import cut_network
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Budget, Measurement, Recipe, SpaceOptions
from automl_compress.core.document import PolicyDocument, RepairNote
from automl_compress.costs import compression_space
from automl_compress.data.loading import load_data
from automl_compress.export.documents import model_reference, network_bytes, policy_document
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import trace
from automl_compress.store import JobState, artifacts, jobs, policies
from automl_compress.store.artifacts import NewArtifact
from tests.api.conftest import (
    DIGITS_CONFIG,
    DIGITS_WEIGHTS,
    RunningService,
    job_body,
    problem,
    write_npz,
)
from tests.api.test_jobs import submit

Json = dict[str, Any]


def uncut_network() -> torch.nn.Module:
    module = build_network("resnet-20", DIGITS_CONFIG)
    load_weights(module, DIGITS_WEIGHTS)
    return module.eval()


def half_of_the_network() -> tuple[torch.nn.Module, PolicyDocument]:
    """Cut it to half of its MACs by l1, and change its weights a little, as tuning does."""
    network = trace(uncut_network(), (1, 8, 8))
    space, selector = compression_space(network.graph, SpaceOptions()), ChannelSelector(network)
    policy = selector.explicit(space.policy(space.uniform(Budget("macs", 0.5))))
    small = cut_network(network, selector.kept(policy)).eval()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.mul_(1.01)
    cost = space.costs.cost(policy.widths(network.graph))
    told = Measurement(cost, 0.5, 5, 10, None, None, "test: x", "confirmed", Recipe(), 0, 1, 0, 0)
    model = model_reference(network, "net", "resnet-20", DIGITS_CONFIG)
    note = RepairNote("fine-tuned")
    return small, policy_document(network, model, policy, (told,), (told,), note, {"seed": 0})


@pytest.fixture(scope="module")
def found(
    service: RunningService, model: Json, dataset: Json
) -> tuple[str, torch.nn.Module, PolicyDocument]:
    """A policy that a search on the digits found, and its network, stored as the search does."""
    small, document = half_of_the_network()
    job_id = submit(service, job_body(model, dataset))["id"]
    written = service.files.write(f"artifacts/{job_id}/network", [network_bytes(small)])
    document = replace(document, repair=RepairNote("fine-tuned", f"sha256:{written.sha256}"))
    with service.database.session() as session:
        new = NewArtifact(job_id, "network.safetensors", "network", "application/octet-stream")
        artifacts.put(session, new, written)
        jobs.cancel(session, job_id)
        policy = policies.add(session, document.to_json(), job_id=job_id, trial_number=0)
        return policy.id, small, document


def registered(client: Client, path: Path, images: torch.Tensor, labels: torch.Tensor) -> str:
    """Register images; their own mean and deviation are others than those of the digits."""
    file = client.upload(write_npz(path, images.numpy(), labels.numpy()))
    return client.create_dataset({"kind": "npz", "file_id": file["id"]}, name="field")["id"]


@pytest.fixture(scope="module")
def other(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Dark photographs of digits."""
    test = load_data("digits").split("test")
    with service.client() as client:
        path = tmp_path_factory.mktemp("other") / "field.npz"
        return registered(client, path, test.images[:120] // 2, test.labels[:120])


def work(service: RunningService, job_id: str) -> None:
    """Run a job as a worker does, step by step."""
    pipeline = PipelineOfKinds(service.settings)
    execution = JobExecution(service.database, service.files, pipeline, "worker", 2.0)
    for step in (execution.prepare, execution.advance):
        outcome = step(job_id, 1)
        while outcome == "go on":
            outcome = step(job_id, 1)
    execution.finalise(job_id, 1)


def test_a_policy_is_scored_on_all_images_of_other_data(
    service: RunningService, found: tuple[str, torch.nn.Module, PolicyDocument], other: str
) -> None:
    policy_id, small, _ = found
    with service.client() as client:
        job = client.evaluate(policy_id, other, split="all", key="once")
        again = client.evaluate(policy_id, other, split="all", key="once")
        assert job.id == again.id
        assert (job.content["kind"], job.content["policy_id"]) == ("evaluation", policy_id)

        work(service, job.id)
        ended = job.refresh().content
        events = [each.type for each in job.stream()]

    assert ended["status"] == "succeeded", ended["error"]
    digits = load_data("digits").split("test")
    images = digits.normalisation.apply(digits.images[:120] // 2)  # as the network learned them
    with torch.no_grad():
        told = [network(images).argmax(1) for network in (uncut_network(), small)]
    labels, result = digits.labels[:120], ended["result"]
    for name, classes in zip(("uncut", "compressed"), told, strict=True):
        assert result[name]["correct"] == int((classes == labels).sum())
        assert result[name]["total"] == 120
        assert result[name]["interval"][0] < result[name]["accuracy"] < result[name]["interval"][1]
    assert result["agreement"] == pytest.approx(float((told[0] == told[1]).float().mean()))
    assert result["compressed"]["correct"] != result["uncut"]["correct"], "half of it is gone"
    assert "evaluation.progress" in events
    assert ended["progress"]["fraction"] == 1.0
    assert ended["study"] == {}


def test_evaluations_are_listed_apart_and_are_no_searches(
    service: RunningService, found: tuple[str, torch.nn.Module, PolicyDocument], other: str
) -> None:
    policy_id, *_ = found
    with service.client() as client:
        made = client.evaluate(policy_id, other, name="field day")
        listed = [each.id for each in client.jobs(policy_id=policy_id)]
        assert made.id in listed
        assert made.id in [each.id for each in client.jobs(kind="evaluation")]
        assert made.id not in [each.id for each in client.jobs(kind="search")]
        search_id = client.get("/v1/policies", limit=200)["data"][0]["job_id"]
        made.cancel()
    for method, path, body in (
        ("GET", f"/v1/jobs/{made.id}/best", None),
        ("GET", f"/v1/compare?job={made.id}", None),
        ("POST", f"/v1/jobs/{made.id}/clone", {}),
    ):
        answer = service.http.request(method, path, json=body)
        assert "searches nothing" in problem(answer, 422, "invalid")["detail"]
    tag = service.http.get(f"/v1/jobs/{made.id}").headers["ETag"]
    effort = {"effort": {"evaluations": 5}}
    answer = service.http.patch(f"/v1/jobs/{made.id}", json=effort, headers={"If-Match": tag})
    assert "searches nothing" in problem(answer, 422, "invalid")["detail"]
    problem(service.http.delete(f"/v1/jobs/{search_id}"), 409, "in-use")
    page = service.http.get(f"/policies/{policy_id}").text
    assert "field day" in page
    assert "field day" not in service.http.get("/").text
    moved = service.http.get(f"/jobs/{made.id}", follow_redirects=False)
    assert moved.status_code == 303
    assert moved.headers["Location"].endswith(f"policies/{policy_id}#evaluations-title")


def test_data_that_do_not_fit_are_refused(
    service: RunningService,
    found: tuple[str, torch.nn.Module, PolicyDocument],
    dataset: Json,
    tmp_path: Path,
) -> None:
    policy_id, *_ = found
    path = f"/v1/policies/{policy_id}/evaluate"
    with service.client() as client:
        wide = torch.from_numpy(np.zeros((40, 9, 9), np.uint8))
        labels = torch.arange(40) % 10
        shaped = registered(client, tmp_path / "wide.npz", wide, labels)
        more = registered(client, tmp_path / "more.npz", wide[:, :8, :8], torch.arange(40) % 11)

    told = problem(service.post(path, {"dataset_id": shaped}), 422, "invalid-data")
    assert told["errors"][0]["pointer"] == "/dataset_id"
    assert "1x9x9" in told["detail"]
    problem(service.post(path, {"dataset_id": more}), 422, "invalid-data")
    problem(service.post(path, {"dataset_id": f"dat_{'0' * 20}"}), 422, "unknown-name")
    same = problem(service.post(path, {"dataset_id": dataset["id"]}), 422, "invalid")
    assert "once for all" in same["detail"]
    with service.client() as client:
        source, options = {"kind": "builtin", "name": "digits"}, {"seed": 7}
        renamed = client.create_dataset(source, name="a second name", options=options)["id"]
    again = problem(service.post(path, {"dataset_id": renamed}), 422, "invalid")
    assert "once for all" in again["detail"]
    assert "a second name" not in service.http.get(f"/policies/{policy_id}").text
    problem(service.post(path, {"dataset_id": shaped, "split": "validation"}), 422, "invalid")
    missing = service.post("/v1/policies/pol_0/evaluate", {"dataset_id": shaped})
    problem(missing, 404, "not-found")


def test_an_evaluation_whose_weights_are_damaged_fails_with_the_reason(
    service: RunningService, found: tuple[str, torch.nn.Module, PolicyDocument], other: str
) -> None:
    policy_id, *_ = found
    with service.client() as client:
        job = client.evaluate(policy_id, other)
        with service.database.reading() as session:
            path = service.files.path_of(jobs.get(session, job.id).spec["evaluation"]["network"])
        whole = path.read_bytes()
        path.write_bytes(network_bytes(uncut_network()))
        try:
            work(service, job.id)
        finally:
            path.write_bytes(whole)
        ended = job.refresh().content

    assert ended["status"] == JobState.FAILED
    assert ended["error"]["code"] == "weights-mismatch"
