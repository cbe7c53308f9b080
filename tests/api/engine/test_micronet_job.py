"""The winners' pipeline as one job: by hand, killed between two stages, and searched."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.client import Client, Event, Job
from automl_api.local_run import RunRequest, run_locally
from automl_api.sources import DataSource, ModelSource
from automl_compress.compress.apply import apply_policy
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    Recipe,
    SpaceOptions,
    StudySpec,
)
from automl_compress.evaluate.stages import STAGES
from automl_compress.networks.program_file.reading import read_program
from automl_compress.store import JobState
from tests.api.conftest import RunningService
from tests.api.conftest import running_service as http_service
from tests.api.engine.conftest import Service, running_service
from tests.automl_compress.networks.program_file.networks import grey_program

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
WORKER = [
    sys.executable,
    "-c",
    "from automl_api.engine import serve_worker; from automl_api.settings import Settings; "
    "serve_worker(Settings())",
]
RECIPE = {"signal": "kl", "images": 64, "calibration_images": 64}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Tables with one worker for every job of this module: it takes seconds to start."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(f"sqlite:///{folder}/database.sqlite", folder) as service:
        service.start_worker(WORKER)
        yield service


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[RunningService]:
    with http_service(service.settings) as http:
        yield http


@pytest.fixture(scope="module")
def client(http: RunningService) -> Iterator[Client]:
    with http.client() as client:
        yield client


@pytest.fixture(scope="module")
def registered(client: Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    path.write_bytes(grey_program())
    dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
    return client.create_model(program=path)["id"], dataset["id"]


@pytest.fixture(scope="module")
def by_hand(service: Service, client: Client, registered: tuple[str, str]) -> Job:
    """A job whose worker was killed when half of the uncut network's stages were over."""
    worker = service.workers[-1]
    job = client.micronet(*registered, evaluations=12, finetune_epochs=3, recipe=RECIPE)
    deadline = time.monotonic() + 120
    while len(job.stages()) < 2:
        assert time.monotonic() < deadline, service.output()
        time.sleep(0.02)
    worker.kill()
    worker.wait()
    assert len(job.stages()) < 2 * len(STAGES)
    service.start_worker(WORKER)
    assert job.wait(300).status == "succeeded", service.output()
    return job


def test_a_killed_job_goes_on_behind_its_last_stage_and_tells_each_once(
    service: Service, by_hand: Job
) -> None:
    stages = by_hand.stages()

    told = [(each["trial_number"], each["stage"]) for each in stages]
    best = by_hand.content["result"]["policies"][0]["trial_number"]
    assert told == [(subject, stage) for subject in (None, best) for stage in STAGES]
    assert service.job(by_hand.id).deaths == 1
    of_policy = stages[len(STAGES) :]
    scores = [each["micronet"] for each in of_policy]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == by_hand.content["result"]["policies"][0]["test"]["cost"]["micronet"]
    assert all(0 < each["correct"] <= each["total"] for each in stages)
    assert of_policy[-1]["logit_change"] < 1e-4


def test_the_result_says_whether_the_floor_is_kept(by_hand: Job) -> None:
    result = by_hand.content["result"]

    floor = result["accuracy_floor"]
    assert floor["test"] == pytest.approx(result["baseline"]["accuracy"] - 0.02)
    assert floor["search"] == pytest.approx(result["baseline_search"]["accuracy"] - 0.02)
    assert result["tuning"]["recipe"] == "micronet"


def test_the_policy_is_the_winners_and_applies(by_hand: Job, tmp_path: Path) -> None:
    document = by_hand.best()

    layers = document.policy.layers
    assert [each.sparsity for each in layers] == [0.75] * (len(layers) - 1) + [0.5]
    assert [each.weight_bits for each in layers] == [4] * (len(layers) - 1) + [6]
    (tmp_path / "net.pt2").write_bytes(grey_program())
    uncut = read_program(tmp_path / "net.pt2").module
    plain, packed = (
        by_hand.download_network(document, tmp_path / f"network{suffix}")
        for suffix in (".safetensors", ".amlc")
    )
    assert packed.stat().st_size < plain.stat().st_size / 2
    states = [apply_policy(uncut, document, each).state_dict() for each in (plain, packed)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_of_the_checkpoints_only_the_latest_of_each_network_stay(
    service: Service, by_hand: Job
) -> None:
    files = {each["name"]: each for each in by_hand.artifacts() if each["kind"] == "checkpoint"}

    there = {name for name, each in files.items() if each["removed"] is None}
    kept = [each["checkpoint"] for each in by_hand.stages() if each["stage"] == "weights"]
    assert there == set(kept)
    folder = service.settings.data_dir / "artifacts" / by_hand.id
    assert {path.name for path in folder.glob("*-*.safetensors") if path.name in files} == there


def test_the_command_line_shows_the_stages(client: Client, by_hand: Job) -> None:
    told = CliRunner().invoke(app, ["jobs", "stages", by_hand.id, "--url", client.url])

    assert told.exit_code == 0, told.output
    assert [line.split()[1] for line in told.output.splitlines()[1:]] == list(STAGES) * 2


def test_the_page_of_the_job_shows_the_stages(http: RunningService, by_hand: Job) -> None:
    page = http.http.get(f"/jobs/{by_hand.id}").text

    table = page.partition('<table id="stages">')[2].partition("</table>")[0]
    rows = re.findall(r"<th scope=\"row\">([^<]*)</th><td>([^<]*)</td>", table)
    assert [stage for _, stage in rows] == list(STAGES) * 2
    assert [network for network, _ in rows[: len(STAGES)]] == ["uncut"] * len(STAGES)
    floor = by_hand.content["result"]["accuracy_floor"]["search"]
    assert f"The floor is {100 * floor:.2f} %" in page


def test_the_profile_says_what_changing_one_layer_alone_costs(
    http: RunningService, by_hand: Job
) -> None:
    told = by_hand.layer_sensitivity()

    points = told["points"]
    names = [layer.layer for layer in by_hand.best().policy.layers]
    assert list(dict.fromkeys(point["layer"] for point in points)) == names
    of_first = [point for point in points if point["layer"] == names[0]]
    assert {point["decision"] for point in of_first} >= {"sparsity", "weight_bits"}
    probes = [each for each in by_hand.trials() if each["role"] == "probe"]
    measured = {each["measurement"]["accuracy"] for each in probes}
    assert {point["accuracy"] for point in points} <= measured
    assert told["unchanged"] == probes[0]["measurement"]["accuracy"]
    assert "What changing one layer alone costs" in http.http.get(f"/jobs/{by_hand.id}").text
    # Nothing was cut, so the network's profile of groups has nothing to show.
    path = f"/v1/models/{by_hand.content['model_id']}/sensitivity"
    assert http.http.get(path).status_code == 404


def test_a_searched_policy_keeps_to_its_share_of_the_score_by_hand(
    service: Service, client: Client, registered: tuple[str, str], by_hand: Job
) -> None:
    job = client.micronet(
        *registered,
        searcher="random",
        evaluations=3,
        shares=[0.9, 0.8],
        finetune_epochs=3,
        recipe=RECIPE,
    )

    assert job.wait(300).status == "succeeded", service.output()

    result = job.content["result"]
    set_by_hand = by_hand.content["result"]["policies"][0]["test"]["cost"]["micronet"]
    scores = [each["test"]["cost"]["micronet"] for each in result["policies"]]
    assert max(scores) <= 0.9 * set_by_hand
    assert min(scores) <= 0.8 * set_by_hand
    # The uncut network was tuned alike before, and its test images are scored once.
    assert result["baseline_job_id"] == by_hand.id
    assert result["baseline_search"] == by_hand.content["result"]["baseline_search"]
    assert {each["trial_number"] for each in job.stages()} == {
        each["trial_number"] for each in result["policies"]
    }
    _check_order(result)


def _check_order(result: dict[str, Any]) -> None:
    """The cheapest of those above the floor is the best; without any, the most accurate."""
    floor = result["accuracy_floor"]["search"]
    keep = [each for each in result["policies"] if each["search"]["accuracy"] >= floor]
    if keep:
        cheapest = min(keep, key=lambda each: each["search"]["cost"]["micronet"])
        assert result["policy_id"] == cheapest["policy_id"]
    else:
        best = max(each["search"]["accuracy"] for each in result["policies"])
        assert result["policies"][0]["search"]["accuracy"] == best


def test_a_job_that_is_cancelled_between_stages_can_be_deleted_with_its_checkpoints(
    service: Service, client: Client, registered: tuple[str, str]
) -> None:
    job = client.micronet(*registered, evaluations=3, finetune_epochs=400, recipe=RECIPE)
    deadline = time.monotonic() + 120
    while not job.stages():
        assert time.monotonic() < deadline, service.output()
        time.sleep(0.05)
    job.cancel()
    assert job.wait(60).status == JobState.CANCELLED
    folder = service.settings.data_dir / "artifacts" / job.id
    assert list(folder.glob("uncut-*.safetensors"))

    job.delete()

    assert not list(folder.glob("*"))


def test_a_search_without_a_service_goes_by_stages_too(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(grey_program())
    study = StudySpec(
        "micronet",
        Budget("micronet", 1.0),
        Effort(1),
        SpaceOptions(schemes=("element",), weight_bits=(4, 6, 32), edge_bits=None),
        Recipe(images=64, calibration_images=64),
        Confirmation(1, 1, (), 1.0, recipe="micronet"),
    )
    request = RunRequest(
        "digits",
        ModelSource(None, program=str(tmp_path / "net.pt2")),
        DataSource("builtin", ("digits",)),
        study,
        tmp_path / "compressed",
    )
    shown: list[Event] = []

    run_locally(request, shown.append)

    told = [event.data["stage"] for event in shown if event.type == "stage.finished"]
    assert told == list(STAGES) * 2
    names = {path.name for path in (tmp_path / "compressed").iterdir()}
    assert names >= {"network.amlc", "policy.json", "trial-0-weights.safetensors"}
