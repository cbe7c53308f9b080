"""The sensitivity profile of a network: measured by jobs, read over HTTP, measured once."""

import json
import subprocess
import sys
from typing import Any

import pytest

from automl_api.engine.compression_job import CompressionPipeline
from automl_api.engine.pipeline import OwnedJob
from automl_compress.store import JobState, jobs
from tests.api.conftest import RunningService, job_body, problem

IMAGES = 32
STUDY = {
    "effort": {"evaluations": 32},
    "recipe": {"images": 64, "calibration_images": 64},
    "searcher_options": {"levels": 2, "profile_images": IMAGES, "profile_share": 0.5},
}
Profile = dict[str, Any]


def search(service: RunningService, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Submit a job, search in this process, and return its trials as HTTP gives them."""
    submitted = service.post("/v1/jobs", body)
    assert submitted.status_code == 202, submitted.text
    job_id = submitted.json()["id"]
    with service.database.session() as session:
        row = jobs.get(session, job_id)
        jobs.claim(session, job_id, row.attempt, "test")
    job = OwnedJob(job_id, "test", service.database, service.files)
    job.enter(JobState.VALIDATING)
    driver = CompressionPipeline(service.settings).prepare(job)
    try:
        job.enter(JobState.RUNNING)
        while not driver.advance(1.0):
            pass
    finally:
        driver.close()
    with service.client() as client:
        return list(client.job(job_id).trials())


def read(service: RunningService, model: Profile, **parameters: str) -> Any:
    return service.http.get(f"/v1/models/{model['id']}/sensitivity", params=parameters)


@pytest.fixture(scope="module")
def unprofiled(service: RunningService) -> Profile:
    with service.client() as client:
        return client.create_model("lenet-5", config={"in_channels": 1, "image_size": 16})


@pytest.fixture(scope="module")
def trials(service: RunningService, model: Profile, dataset: Profile) -> list[dict[str, Any]]:
    """Of a job that profiled the digits network."""
    return search(service, job_body(model, dataset, searcher="sensitivity", **STUDY))


@pytest.mark.slow
def test_a_jobs_probes_are_the_networks_profile(
    service: RunningService, model: Profile, dataset: Profile, trials: list[dict[str, Any]]
) -> None:
    profile = read(service, model, dataset_id=dataset["id"]).json()

    channels = {group["name"]: group["channels"] for group in model["groups"]}
    curves = {curve["group"]: curve["points"] for curve in profile["groups"]}
    assert list(curves) == list(channels)
    assert all(len(points) == 2 for points in curves.values())
    assert profile["images"] == IMAGES
    assert profile["recipe"]["calibration_images"] == 64
    assert profile["criterion"] == "l1"
    assert profile["jobs"] == [trials[0]["job_id"]]
    probes = [each for each in trials if each["role"] == "probe"]
    assert profile["uncut"]["accuracy"] == probes[0]["measurement"]["accuracy"] > 0.9
    one = next(
        each
        for each in probes[1:]
        if next(c["sparsity"] for c in each["policy"]["groups"] if c["group"] == "conv1") > 0
    )
    measured = {key: one["measurement"][key] for key in ("accuracy", "cross_entropy", "kl")}
    assert any(measured.items() <= point.items() for point in curves["conv1"])
    for name, points in curves.items():
        assert [each["sparsity"] for each in points] == sorted(each["sparsity"] for each in points)
        for each in points:
            assert each["kept"] == round(channels[name] * (1 - each["sparsity"]))
    assert read(service, model).json() == profile


@pytest.mark.slow
def test_a_second_job_does_not_forward_a_probe_again(
    service: RunningService, model: Profile, dataset: Profile, trials: list[dict[str, Any]]
) -> None:
    again = search(service, job_body(model, dataset, searcher="dp", **STUDY))

    earlier = {each["number"]: each for each in trials if each["role"] == "probe"}
    probes = [each for each in again if each["role"] == "probe"]
    assert len(probes) == len(earlier) > 20
    for probe in probes:
        old, new = earlier[probe["number"]]["measurement"], probe["measurement"]
        assert (new["cpu_seconds"], new["wall_seconds"]) == (0.0, 0.0)
        assert {**new, **dict.fromkeys(TIMES, 0.0)} == {**old, **dict.fromkeys(TIMES, 0.0)}
        assert f"measured in job {trials[0]['job_id']}" in probe["note"]
    assert sum(each["measurement"]["cpu_seconds"] for each in again) > 0  # its own candidates


TIMES = ("cpu_seconds", "wall_seconds", "forward_cpu_seconds")


@pytest.mark.slow
def test_another_recipe_is_measured_anew(
    service: RunningService, model: Profile, dataset: Profile, trials: list[dict[str, Any]]
) -> None:
    recipe = {"images": 64, "calibration_images": 64, "repair": "none"}
    study = {**STUDY, "recipe": recipe, "effort": {"evaluations": 1}}

    again = search(service, job_body(model, dataset, searcher="sensitivity", **study))

    assert all(each["measurement"]["cpu_seconds"] > 0 for each in again)


@pytest.mark.slow
def test_the_command_prints_a_table_or_json(
    service: RunningService, model: Profile, trials: list[dict[str, Any]]
) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "automl_api.cli", "sensitivity", *arguments]
        told = subprocess.run(
            [*command, "--url", service.url], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    table, document = run(model["id"]), json.loads(run(model["id"], "--json"))

    assert document == read(service, model).json()
    assert "layer1.0.conv1" in table
    assert "90%" in table
    assert f"{document['uncut']['accuracy']:.1%}" in table


def test_without_a_profile_the_answer_says_how_to_get_one(
    service: RunningService, unprofiled: Profile
) -> None:
    answer = problem(read(service, unprofiled), 404, "not-found")

    assert "'sensitivity'" in answer["detail"]
    assert "POST /v1/jobs" in answer["detail"]


def test_unknown_model_and_unknown_data_are_named(
    service: RunningService, unprofiled: Profile
) -> None:
    assert "mdl_none" in problem(read(service, {"id": "mdl_none"}), 404, "not-found")["detail"]
    answer = read(service, unprofiled, dataset_id="dat_none")
    assert "dat_none" in problem(answer, 404, "not-found")["detail"]
