"""Latency tables over HTTP: brought, listed, searched under, deleted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api import local_latency
from automl_api.cli import app
from automl_api.graph_json import graph_from_json
from automl_compress.core import StudySpec
from automl_compress.costs import LatencyTable
from automl_compress.networks.trace import Network
from automl_compress.store import jobs, models
from tests.api.conftest import RunningService, job_body, problem
from tests.latency_times import table_of

Json = dict[str, Any]


@pytest.fixture(scope="module")
def latency_table(service: RunningService, model: Json) -> Json:
    """Made-up times of every layer of the model."""
    with service.database.reading() as session:
        graph = graph_from_json(models.get(session, model["id"]).details["graph"])
    return table_of(graph).to_json()


@pytest.fixture(scope="module")
def target(service: RunningService, latency_table: Json) -> Json:
    body = {"name": "camera", "latency_table": latency_table}
    response = service.post("/v1/targets", body)
    assert response.status_code == 201, response.text
    return response.json()


def under(target: str, ratio: float = 0.5) -> Json:
    return {"budget": {"metric": "latency_ns", "ratio": ratio}, "target": target}


def test_a_brought_target_comes_back_with_its_table(
    service: RunningService, target: Json, latency_table: Json
) -> None:
    told = service.http.get(f"/v1/targets/{target['id']}").json()

    assert told["latency_table"] == latency_table
    assert (told["engine"], told["batch"], told["name"]) == ("cpu-made-up", 1, "camera")
    assert told["entries"] > 100
    listed = service.http.get("/v1/targets").json()["data"]
    assert target in listed
    assert "latency_table" not in listed[0]


def test_a_doctored_table_is_refused_and_the_place_named(
    service: RunningService, latency_table: Json
) -> None:
    doctored = json.loads(json.dumps(latency_table))
    doctored["layers"][0]["nanoseconds"][0][0] = -5

    refused = service.post("/v1/targets", {"name": "camera", "latency_table": doctored})

    told = problem(refused, 422, "invalid")
    assert told["errors"][0]["pointer"] == "/latency_table/layers/0/nanoseconds/0/0"


def test_a_job_may_be_put_under_a_latency_budget(
    service: RunningService, model: Json, dataset: Json, target: Json
) -> None:
    body = job_body(model, dataset, **under(target["id"]))

    job = service.post("/v1/jobs", body)

    assert job.status_code == 202, job.text
    assert job.json()["study"]["target"] == target["id"]
    estimate = service.post("/v1/estimates", body).json()
    assert 0 < estimate["smallest"]["latency_ns"] <= estimate["limit"]
    in_use = service.http.delete(f"/v1/targets/{target['id']}")
    problem(in_use, 409, "in-use")


def test_a_brought_table_is_of_calls_of_its_own_batch(
    service: RunningService, model: Json, dataset: Json, target: Json
) -> None:
    refused = service.post(
        "/v1/jobs", job_body(model, dataset, **under(target["id"]), latency_batch=32)
    )

    told = problem(refused, 422, "invalid")
    assert told["errors"][0]["pointer"] == "/study/latency_batch"
    assert "is of calls of 1 images, not of 32" in told["detail"]


def test_an_estimate_says_that_a_table_is_measured_first(
    service: RunningService, model: Json, dataset: Json
) -> None:
    told = service.post("/v1/estimates", job_body(model, dataset, **under("cpu-openvino"))).json()

    assert (told["limit"], told["is_reachable"]) == (None, None)
    assert "latency_ns" not in {**told["uncut"], **told["smallest"]}
    assert told["decisions"] > 0


def test_a_job_without_target_tells_no_latency(
    service: RunningService, model: Json, dataset: Json
) -> None:
    job = service.post("/v1/jobs", job_body(model, dataset)).json()
    profile = {"accuracy": 0.5, "correct": 20, "total": 40, "cross_entropy": 1.0, "split": "search"}
    cost = {**model["totals"], "latency_ns": 0}  # as it was stored once
    with service.database.session() as session:
        jobs.get(session, job["id"]).baseline = {**profile, "wall_seconds": 1.0, "cost": cost}

    told = service.http.get(f"/v1/jobs/{job['id']}").json()["baseline"]["cost"]
    drawn = service.http.get(f"/jobs/{job['id']}/points").json()["cost"]

    assert told == model["totals"]
    assert "latency_ns" not in drawn


def test_a_job_under_a_latency_budget_is_shown_compared_and_extended(
    service: RunningService, model: Json, dataset: Json, target: Json
) -> None:
    job = service.post("/v1/jobs", job_body(model, dataset, **under(target["id"]))).json()
    before = service.http.get(f"/jobs/{job['id']}")
    profile = {"accuracy": 0.5, "correct": 20, "total": 40, "cross_entropy": 1.0, "split": "search"}
    cost = {**model["totals"], "latency_ns": 5000}
    with service.database.session() as session:
        jobs.get(session, job["id"]).baseline = {**profile, "wall_seconds": 1.0, "cost": cost}

    page = service.http.get(f"/jobs/{job['id']}")
    compared = service.http.get("/compare", params={"job": job["id"], "metric": "latency_ns"})
    at = f"/v1/jobs/{job['id']}"
    match = {"If-Match": service.http.get(at).headers["ETag"]}
    longer = service.http.patch(at, json={"effort": {"evaluations": 9}}, headers=match)

    assert (before.status_code, page.status_code, compared.status_code) == (200, 200, 200)
    assert 'value="macs" checked' in before.text  # nothing is known of its latency yet
    assert 'value="latency_ns" checked' in page.text
    assert 'data-latency-ns="5000"' in page.text
    assert longer.status_code == 200, longer.text
    assert service.http.get(f"{at}/report.html").status_code == 200


def test_a_budget_that_the_target_cannot_meet_is_refused_at_submission(
    service: RunningService, model: Json, dataset: Json, target: Json
) -> None:
    refused = service.post("/v1/jobs", job_body(model, dataset, **under(target["id"], 0.001)))

    assert "latency_ns" in problem(refused, 422, "infeasible-budget")["detail"]


def test_the_form_offers_what_was_brought(service: RunningService, target: Json) -> None:
    page = service.http.get("/new").text

    assert f'<option value="{target["id"]}">camera: cpu-made-up, batch 1</option>' in page


@pytest.mark.parametrize("name", ["toaster", "tgt_00000000000000000000"])
def test_an_unknown_target_is_refused(
    service: RunningService, model: Json, dataset: Json, name: str
) -> None:
    refused = service.post("/v1/jobs", job_body(model, dataset, **under(name)))

    told = problem(refused, 422, "unknown-name")
    assert told["errors"][0]["pointer"] == "/study/target"
    assert "cpu-openvino" in told["detail"]


def test_a_latency_budget_without_a_target_is_refused(
    service: RunningService, model: Json, dataset: Json
) -> None:
    budget = {"budget": {"metric": "latency_ns", "ratio": 0.5}}

    refused = service.post("/v1/jobs", job_body(model, dataset, **budget))

    assert "names no target" in problem(refused, 422, "invalid")["detail"]


def test_a_table_of_another_network_is_refused_at_submission(
    service: RunningService, model: Json, dataset: Json, latency_table: Json
) -> None:
    lacking = {**latency_table, "layers": latency_table["layers"][:1]}
    other = service.post("/v1/targets", {"name": "other", "latency_table": lacking}).json()

    refused = service.post("/v1/jobs", job_body(model, dataset, **under(other["id"])))

    (told,) = problem(refused, 422, "invalid")["errors"]
    assert told["pointer"] == "/study/target"
    # Within and between three stages, and the classifier: the first layer alone is there.
    assert "has no times for 6 shapes of layers of this network: a 3x3" in told["detail"]
    assert "; and 3 more. Measure the network on that machine" in told["detail"]
    assert service.http.delete(f"/v1/targets/{other['id']}").status_code == 204
    problem(service.http.get(f"/v1/targets/{other['id']}"), 404, "not-found")


def test_the_same_request_makes_one_target(service: RunningService, latency_table: Json) -> None:
    body = {"name": "twice", "latency_table": latency_table}
    headers = {"Idempotency-Key": "one target"}

    first, again = (service.http.post("/v1/targets", json=body, headers=headers) for _ in range(2))

    assert first.json()["id"] == again.json()["id"]


def test_tables_are_pushed_and_listed_from_a_shell(
    service: RunningService, latency_table: Json, tmp_path: Path
) -> None:
    path = tmp_path / "phone.json"
    path.write_text(json.dumps(latency_table))
    at = ["--url", service.url]

    pushed = CliRunner().invoke(app, ["targets", "push", str(path), *at])
    listed = CliRunner().invoke(app, ["targets", "ls", *at])

    assert pushed.exit_code == listed.exit_code == 0
    assert pushed.output.startswith("tgt_")
    assert "phone  cpu-made-up, batch 1" in listed.output


@pytest.mark.parametrize(("flag", "bits"), [([], ()), (["--int8"], (8, 32))])
def test_a_table_is_measured_for_the_space_that_was_asked_for(
    flag: list[str], bits: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Measuring itself has tests of its own, in real engines.
    studies: list[StudySpec] = []

    def measured(network: Network, study: StudySpec, *_: object) -> LatencyTable:
        studies.append(study)
        table = table_of(network.graph)
        checked = replace(table.calibration, checks=((100.0, 110.0),))
        return replace(table, calibration=checked)

    monkeypatch.setattr(local_latency, "study_table", measured)
    path = tmp_path / "camera.json"

    arguments = ["measure-latency", "lenet-300-100", "--round-to", "8", *flag, "-o", str(path)]
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 0, done.output
    assert LatencyTable.from_json(json.loads(path.read_text())).entries
    (study,) = studies
    assert (study.space.weight_bits, study.space.activation_bits) == (bits, bits)
    assert study.space.round_to == 8
