"""Networks, data and policies from the command line, against a running service."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from automl_api.cli import app
from automl_compress.core.document import PolicyDocument, RepairNote
from tests.api.conftest import (
    DIGITS_WEIGHTS,
    RunningService,
    grey_images,
    job_body,
    write_npz,
)
from tests.api.test_evaluations import half_of_the_network

pytestmark = pytest.mark.e2e

Json = dict[str, Any]


def run(service: RunningService, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--url", service.url], catch_exceptions=False)


def told(service: RunningService, *arguments: str) -> Any:
    ended = run(service, *arguments, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PolicyDocument]:
    path = tmp_path_factory.mktemp("policy") / "policy.json"
    document = replace(half_of_the_network()[1], repair=RepairNote("none"), id=None)
    document.save(path)
    return path, document


def test_a_network_is_registered_shown_and_searched_by_its_id(service: RunningService) -> None:
    made = told(service, "models", "push", str(DIGITS_WEIGHTS), "--name", "of the shop")

    shown = run(service, "models", "show", made["id"]).stdout
    layers = run(service, "models", "layers", made["id"]).stdout
    search = ["search", made["id"], "digits", "--max-macs", "50%", "--searcher", "random"]
    job = told(service, *search, "--tag", "team:edge", "--priority", "-1")

    assert made["name"] == "of the shop"
    assert f"{made['totals']['macs']:,} macs" in shown
    assert all(each["name"] in shown for each in made["groups"])
    assert told(service, "models", "layers", made["id"]) == made["layers"]
    assert all(each["name"] in layers for each in made["layers"])
    assert (job["model_id"], job["tags"], job["priority"]) == (made["id"], {"team": "edge"}, -1)
    assert [each["id"] for each in told(service, "jobs", "ls", "--tag", "team:edge")] == [job["id"]]


def test_tags_of_a_job_are_replaced(service: RunningService, model: Json, dataset: Json) -> None:
    job = service.post("/v1/jobs", {**job_body(model, dataset), "tags": {"a": "1"}}).json()

    changed = told(service, "jobs", "change", job["id"], "--tag", "b:2", "--tag", "c:3")

    assert changed["tags"] == {"b": "2", "c": "3"}


def test_data_are_registered_and_shown(service: RunningService, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "shelves.npz", *grey_images(200))
    declared = ["--mean", "0.5", "--std", "0.25", "--flip", "--num-classes", "12"]

    made = told(service, "datasets", "push", str(path), *declared, "--max-train-images", "50")
    shown = run(service, "datasets", "show", made["id"]).stdout

    assert (made["name"], made["num_classes"]) == ("shelves", 12)
    assert made["normalisation"] == {"mean": [0.5], "std": [0.25]}
    assert made["augmentation"]["flip"]
    assert made["splits"]["train"]["images"] == 50
    assert "1x8x8, 12 classes" in shown
    assert all(split["provenance"] in shown for split in made["splits"].values())


def test_a_stored_policy_is_shown_layer_by_layer(
    service: RunningService, model: Json, policy: tuple[Path, PolicyDocument]
) -> None:
    path, document = policy

    pushed = told(service, "policies", "push", str(path), model["id"])
    shown = run(service, "policies", "show", pushed["id"]).stdout

    assert told(service, "policies", "show", pushed["id"])["groups"] == document.to_json()["groups"]
    for row in document.layers:
        assert f"{row.after.macs:,}" in shown
        assert row.name in shown


def test_a_report_is_written(
    service: RunningService, model: Json, dataset: Json, tmp_path: Path
) -> None:
    job = service.post("/v1/jobs", {**job_body(model, dataset), "name": "of today"}).json()

    wrote = told(service, "jobs", "report", job["id"], "-o", str(tmp_path / "report.html"))

    assert "of today" in Path(wrote["output"]).read_text()


def test_a_policy_is_checked_without_a_service(
    policy: tuple[Path, PolicyDocument], tmp_path: Path
) -> None:
    path, document = policy
    other = tmp_path / "other.json"
    content = {**document.to_json(), "created": "2020-02-02T00:00:00Z"}
    other.write_text(json.dumps(content))
    check = ["policies", "validate", str(path), "--json"]

    alone = json.loads(CliRunner().invoke(app, check).stdout)
    applied = CliRunner().invoke(app, [*check, "--weights", str(DIGITS_WEIGHTS)])
    doctored = CliRunner().invoke(app, ["policies", "validate", str(other)])

    assert (alone["is_valid"], alone["applies"], alone["digest"]) == (True, False, document.digest)
    assert json.loads(applied.stdout)["applies"]
    assert "digest" in str(doctored.exception)
