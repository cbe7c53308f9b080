"""Jobs whose candidates get their weights from a PruningNet, trained as a step of the first."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from automl_api.client import Client, Event, Job
from automl_api.local_run import RunRequest, run_locally
from automl_api.sources import DataSource, ModelSource
from automl_compress.core import Budget, Confirmation, Effort, PruningNetConfig, Recipe, StudySpec
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
TINY: dict[str, Any] = {"rank": 1, "epochs": 2, "images": 200, "batch_size": 50}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Tables with one worker for every job of this module: it takes seconds to start."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(f"sqlite:///{folder}/database.sqlite", folder) as service:
        service.start_worker(WORKER)
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with http_service(service.settings) as http, http.client() as client:
        yield client


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is small: what it learns is nothing to these tests."""
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    path.write_bytes(grey_program())
    return path


def submit(client: Client, program: Path, ratio: float, **pruning_net: Any) -> Job:
    model = client.create_model(program=program)
    dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
    return client.submit(
        {
            "model_id": model["id"],
            "dataset_id": dataset["id"],
            "study": {
                "searcher": "metapruning",
                "budget": {"metric": "macs", "ratio": ratio},
                "effort": {"evaluations": 8},
                "recipe": {
                    "images": 64,
                    "calibration_images": 64,
                    "pruning_net": {**TINY, **pruning_net},
                },
                "confirmation": {"top_k": 1, "finetune_epochs": 0, "formats": []},
            },
        }
    )


def of_kind(events: list[Event], kind: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.type == kind]


def wait_for_progress(job: Job, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    for event in job.stream():
        assert time.monotonic() < deadline
        if event.type == "pruning_net.progress":
            return
    raise AssertionError("the training told nothing")


def test_the_second_job_reuses_the_training_of_the_first(
    service: Service, client: Client, program: Path
) -> None:
    first = submit(client, program, 0.5)
    told = list(first.stream())
    second = submit(client, program, 0.3)
    told_again = list(second.stream())
    jobs = [first.refresh(), second.refresh()]

    assert [job.status for job in jobs] == ["succeeded", "succeeded"], service.output()
    recipe = jobs[0].content["study"]["recipe"]
    assert (recipe["weights"], recipe["repair"]) == ("pruning_net", "recalibration")
    progress = of_kind(told, "pruning_net.progress")
    assert progress[-1]["share"] == 1.0
    assert (progress[-1]["epoch"], progress[-1]["epochs"]) == (2, 2)
    ready, again = (of_kind(each, "pruning_net.ready")[0] for each in (told, told_again))
    assert (ready["is_reused"], again["is_reused"]) == (False, True)
    assert ready["key"] == again["key"]
    assert ready["cpu_seconds"] > 0
    assert not of_kind(told_again, "pruning_net.progress")
    states = [event.data.get("state") for event in told if event.type == "job.status"]
    assert states.index("profiling") < states.index("running")
    scored = [event for event in told if event.type == "trial.completed"]
    assert len(scored) == 4  # 64 scored and 64 recalibrated: two evaluations each
    folder = service.settings.data_dir / "pruning-nets"
    assert [path.name for path in folder.glob(f"{ready['key'][7:]}*")] == [
        f"{ready['key'][7:]}.safetensors"
    ]


def test_training_can_be_cancelled(service: Service, client: Client, program: Path) -> None:
    job = submit(client, program, 0.5, epochs=50)
    wait_for_progress(job)

    job.cancel()

    assert job.wait(30).status == "cancelled"
    after = submit(client, program, 0.5)  # the worker is free again
    assert after.wait(120).status == "succeeded", service.output()


def test_a_killed_training_goes_on_in_another_worker(
    service: Service, client: Client, program: Path
) -> None:
    worker = service.workers[-1]
    folder = service.settings.data_dir / "pruning-nets"
    others = set(folder.glob("*.checkpoint.safetensors"))
    job = submit(client, program, 0.5, epochs=8)
    deadline = time.monotonic() + 120
    while others.issuperset(folder.glob("*.checkpoint.safetensors")):
        assert time.monotonic() < deadline, service.output()
        time.sleep(0.1)
    worker.kill()
    worker.wait()
    seen = len(list(client.list(f"/v1/jobs/{job.id}/events")))
    service.start_worker(WORKER)

    assert job.wait(200).status == "succeeded", service.output()

    told = of_kind(list(job.stream(after=seen)), "pruning_net.progress")
    assert told[0]["epoch"] > 1
    assert others.issuperset(folder.glob("*.checkpoint.safetensors"))


def test_a_search_without_a_service_trains_and_reuses_it_too(program: Path, tmp_path: Path) -> None:
    study = StudySpec(
        "metapruning",
        Budget("macs", 0.5),
        Effort(4),
        recipe=Recipe(
            repair="recalibration",
            images=64,
            calibration_images=64,
            weights="pruning_net",
            pruning_net=PruningNetConfig(**TINY),
        ),
        confirmation=Confirmation(top_k=1, finetune_epochs=0, formats=()),
    )
    request = RunRequest(
        "digits",
        ModelSource(None, program=str(program)),
        DataSource("builtin", ("digits",)),
        study,
        tmp_path / "compressed",
    )
    shown: list[Event] = []

    first = run_locally(request, shown.append)
    ready = of_kind(shown, "pruning_net.ready")[-1]
    second = run_locally(request, shown.append)

    assert not ready["is_reused"]
    assert of_kind(shown, "pruning_net.ready")[-1]["is_reused"]
    # Shown while it was trained, not after: the events come in order, the training before trials.
    kinds = [event.type for event in shown]
    assert kinds.index("pruning_net.progress") < kinds.index("trial.completed")
    assert first.document.groups == second.document.groups
