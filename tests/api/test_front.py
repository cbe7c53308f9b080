"""The front of a search over the interface."""

from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.jobs.hypervolume import reached
from automl_compress.core.budget import METRICS
from automl_compress.store.points import Point
from tests.api.conftest import RunningService, job_body, problem
from tests.api.dashboard_pages import store_trials
from tests.api.test_dashboard_compare import finish
from tests.api.test_jobs import submit


@pytest.fixture(scope="module")
def searched(service: RunningService, model: dict[str, Any], dataset: dict[str, Any]) -> str:
    """A job that has ended, with trials and a confirmed policy."""
    created = submit(service, job_body(model, dataset))
    groups = [each["name"] for each in model["groups"]]
    store_trials(service, created["id"], groups, range(1000, 9000, 900))
    finish(service, created["id"], 0.93)
    return created["id"]


def test_the_front_holds_what_no_trial_beats_and_what_is_confirmed(
    service: RunningService, searched: str
) -> None:
    with service.client() as client:
        front = client.job(searched).front()
    trials = service.http.get(f"/v1/jobs/{searched}/trials?limit=200").json()["data"]
    measured = [
        (each["measurement"]["cost"]["macs"], each["score"], each["number"])
        for each in trials
        if each["score"] is not None
    ]
    best = {
        number
        for cost, score, number in measured
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s, _ in measured)
    }
    proxy = [each for each in front["points"] if each["fidelity"] == "proxy"]
    confirmed = [each for each in front["points"] if each["fidelity"] == "confirmed"]

    assert {each["trial_number"] for each in proxy} == best
    assert [each["ratio"] for each in front["points"]] == sorted(
        each["ratio"] for each in front["points"]
    )
    assert proxy[0]["ratio"] == proxy[0]["cost"]["macs"] / front["uncut"]["macs"]
    assert [each["accuracy"] for each in confirmed] == [0.93]
    assert service.http.get(f"/v1/policies/{confirmed[0]['policy_id']}").status_code == 200
    volumes = [each["hypervolume"] for each in front["reached"]]
    assert volumes == sorted(volumes)
    assert volumes[-1] > 0


def test_metric_and_fidelity_of_a_front_are_chosen(service: RunningService, searched: str) -> None:
    with service.client() as client:
        job = client.job(searched)
        sizes, tested = job.front(metric="size_bytes"), job.front(fidelity="confirmed")

    assert sizes["metric"] == "size_bytes"
    assert sizes["points"][0]["ratio"] == pytest.approx(
        sizes["points"][0]["cost"]["size_bytes"] / sizes["uncut"]["size_bytes"]
    )
    assert [each["fidelity"] for each in tested["points"]] == ["confirmed"]


def test_a_metric_that_nobody_told_is_refused(service: RunningService, searched: str) -> None:
    path = f"/v1/jobs/{searched}/front"

    answer = problem(service.http.get(path, params={"metric": "latency_ns"}), 422, "invalid")
    assert "choose: macs, parameters" in answer["detail"]
    problem(service.http.get(path, params={"metric": "flops"}), 422, "invalid")
    problem(service.http.get("/v1/jobs/job_0/front"), 404, "not-found")


def test_the_front_of_a_search_that_has_measured_nothing_is_empty(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    created = submit(service, job_body(model, dataset))

    front = service.http.get(f"/v1/jobs/{created['id']}/front").json()

    assert (front["metric"], front["points"], front["reached"]) == ("macs", [], [])


def test_the_command_line_lists_a_front(service: RunningService, searched: str) -> None:
    with service.client() as client:
        told = client.job(searched).front()
    place = ["--url", service.url]

    listed = CliRunner().invoke(app, ["jobs", "front", searched, *place]).stdout
    tested = CliRunner().invoke(app, ["jobs", "front", searched, "--fidelity", "confirmed", *place])

    lines = listed.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [str(p["trial_number"]) for p in told["points"]]
    assert len(tested.stdout.splitlines()) == 2
    assert "93.00%" in tested.stdout


def test_what_nobody_counted_adds_nothing_to_a_hypervolume() -> None:
    uncounted = Point(0, 1.0, 0.9, 0.9, (0,) * len(METRICS), "")
    counted = Point(1, 2.0, 0.8, 0.8, (50,) * len(METRICS), "")

    steps = reached(0, [uncounted, counted], 100, "macs", 2.0)

    assert [(each.evaluations, each.hypervolume) for each in steps] == [(2.0, 0.4)]
