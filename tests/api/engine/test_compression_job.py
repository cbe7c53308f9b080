"""Real jobs, small: a convolutional network on scikit-learn's digits."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from automl_compress import networks
from automl_compress.compress.apply import apply_policy
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    Recipe,
    SpaceOptions,
    StudySpec,
)
from automl_compress.core.document import PolicyDocument
from automl_compress.core.recipe import Backend
from automl_compress.data.loading import load_data
from automl_compress.evaluate.latency import processor_name
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.export.sessions import OPENVINO
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.program_file.reading import read_program
from automl_compress.store import (
    JobRow,
    JobState,
    SqlTrialStore,
    artifacts,
    events,
    jobs,
    policies,
    targets,
)
from automl_compress.train.accuracy import evaluate_accuracy
from tests.api.conftest import running_service as http_service
from tests.api.engine.conftest import (
    Service,
    check_every_trial_is_stored_once,
    running_service,
)
from tests.automl_compress.export.conftest import NEEDS_ONNX
from tests.automl_compress.networks.program_file.networks import grey_program
from tests.automl_compress.store.conftest import new_job

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
CONFIG = {"in_channels": 1, "image_size": 8}
WEIGHTS = Path(networks.__file__).parent / "weights" / "resnet-20-digits.safetensors"
WORKER = [
    sys.executable,
    "-c",
    "from automl_api.engine import serve_worker; from automl_api.settings import Settings; "
    "serve_worker(Settings())",
]


RESNET = {"architecture": "resnet-20", "config": CONFIG, "weights": str(WEIGHTS)}
BACKEND: Backend = "openvino" if is_installed(OPENVINO) else "torch"
OVER_BITS: dict[str, Any] = {
    "model": {
        "architecture": None,
        "program": "files/net.pt2",
        "name": "net",
        "fingerprint": {"graph": "sha256:graph", "weights": "sha256:weights"},
    },
    "budget": Budget("size_bytes", 0.08),  # not to be met by bits alone
    "space": SpaceOptions(weight_bits=(2, 3, 4, 8), activation_bits=(4, 8)),
    "confirmation": Confirmation(top_k=1, finetune_epochs=1),
}


def submit(
    service: Service,
    model: dict[str, Any] = RESNET,
    dataset_id: str | None = None,
    **changes: Any,
) -> str:
    usual: dict[str, Any] = {
        "searcher": "random",
        "budget": Budget("macs", 0.5),
        "effort": Effort(6),
        "recipe": Recipe(images=64, calibration_images=64),
        "confirmation": Confirmation(top_k=2, finetune_epochs=0, formats=()),
    }
    new = new_job(service.database, **({"dataset_id": dataset_id} if dataset_id else {}))
    new.spec.clear()
    new.spec.update(
        model=model,
        dataset={"kind": "builtin", "location": ["digits"]},
        study=StudySpec(**{**usual, **changes}).to_json(),
    )
    with service.database.session() as session:
        row = jobs.create(session, new)
    service.queue.submit(row.id)
    return row.id


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Tables with one worker for every job of this module: it takes seconds to start."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(f"sqlite:///{folder}/database.sqlite", folder) as service:
        service.start_worker(WORKER)
        yield service


@pytest.fixture(scope="module")
def over_channels(service: Service) -> JobRow:
    """A job that ended with two networks, not tuned; the engine scored it where there is one."""
    recipe = Recipe(images=64, calibration_images=64, backend=BACKEND)
    job_id = submit(service, recipe=recipe)
    return service.wait_for_state(job_id, JobState.SUCCEEDED, seconds=240)


@pytest.fixture(scope="module")
def on_program(service: Service) -> JobRow:
    """A job over bits, on a network that came as a program; its policy was tuned."""
    folder = service.settings.data_dir / "files"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.pt2").write_bytes(grey_program())
    job_id = submit(service, **OVER_BITS)
    return service.wait_for_state(job_id, JobState.SUCCEEDED, seconds=240)


def test_job_ends_with_policies_and_smaller_networks(
    service: Service, over_channels: JobRow
) -> None:
    row, job_id = over_channels, over_channels.id
    check_every_trial_is_stored_once(service, job_id, 6)
    check_everybody_names_the_same_policy_the_best(service, row)
    assert row.baseline is not None
    assert row.result is not None
    with service.database.reading() as session:
        rows = policies.of_job(session, job_id)
        stored = {each.name: each for each in artifacts.of_job(session, job_id)}
    documents = [PolicyDocument.from_json(each.document) for each in rows]
    assert len(documents) == 2
    assert all(each.after.macs <= 0.5 * each.before.macs for each in documents)
    assert set(stored) == {
        "network.safetensors", "network-2.safetensors",
        "policy.json", "policy-2.json", "card.md", "card-2.md", "report.json",
    }  # fmt: skip
    path = service.settings.data_dir / stored["policy.json"].path
    assert json.loads(path.read_text())["id"] == row.result["policy_id"]
    weights = service.settings.data_dir / stored["network.safetensors"].path
    uncut = build_network("resnet-20", CONFIG)
    load_weights(uncut, WEIGHTS)
    small = apply_policy(uncut, path, weights)
    assert sum(each.numel() for each in small.parameters()) == documents[0].after.parameters
    correct, total = evaluate_accuracy(small, load_data("digits").split("test"))
    assert correct / total == row.result["policies"][0]["test"]["accuracy"]
    assert row.baseline["accuracy"] > 0.9
    assert row.baseline["backend"] == BACKEND
    trials = SqlTrialStore(service.database, job_id).trials()
    measured = [each.measurement.recipe.backend for each in trials if each.measurement]
    assert measured == [BACKEND] * 6
    assert max(each["test"]["accuracy"] for each in row.result["policies"]) > 0.8


def test_a_job_over_bits_of_a_program_ends_with_a_packed_network(
    service: Service, on_program: JobRow
) -> None:
    row, job_id = on_program, on_program.id
    check_every_trial_is_stored_once(service, job_id, 6)
    with service.database.reading() as session:
        stored = {each.name: each for each in artifacts.of_job(session, job_id)}
        (policy,) = policies.of_job(session, job_id)
    document = PolicyDocument.from_json(policy.document)
    assert (document.model.architecture, document.model.name) == (None, "net")
    path = service.settings.data_dir / stored["policy.json"].path
    assert json.loads(path.read_text()) == policy.document
    assert document.after.size_bytes == stored["network.amlc"].size_bytes
    assert document.after.size_bytes <= 0.08 * document.before.size_bytes
    assert document.after.parameters < document.before.parameters
    assert {choice.weight_bits for choice in document.policy.layers} <= {2, 3, 4, 8}
    assert {choice.activation_bits for choice in document.policy.layers} <= {4, 8}
    uncut = read_program(service.settings.data_dir / "files" / "net.pt2").module
    data = load_data("digits").split("test")
    assert row.result is not None
    for name in ("network.amlc", "network.safetensors"):
        small = apply_policy(uncut, path, service.settings.data_dir / stored[name].path)
        assert sum(each.numel() for each in small.parameters()) == document.after.parameters
        correct, total = evaluate_accuracy(small, data)
        assert correct / total == row.result["policies"][0]["test"]["accuracy"]
    assert ("network.onnx" in stored) == is_installed(*ONNX_PACKAGES), row.result
    if is_installed(*ONNX_PACKAGES):
        assert row.result["policies"][0]["exports"]["onnx"]["difference"] < 0.05


def test_a_second_job_repeats_what_the_first_said_of_the_uncut_network(
    service: Service, on_program: JobRow
) -> None:
    alike = {**OVER_BITS, "dataset_id": on_program.dataset_id, "effort": Effort(2)}
    tuned = Confirmation(top_k=1, finetune_epochs=1, formats=())
    second_id = submit(service, **{**alike, "confirmation": tuned})
    untuned = Confirmation(finetune_epochs=0, formats=())
    other_id = submit(service, **{**alike, "confirmation": untuned})

    second = service.wait_for_state(second_id, JobState.SUCCEEDED, seconds=240)
    other = service.wait_for_state(other_id, JobState.SUCCEEDED, seconds=240)

    first = on_program
    assert first.result is not None
    assert second.result is not None
    assert other.result is not None
    assert first.result["baseline_job_id"] == first.id
    assert second.result["baseline_job_id"] == first.id
    assert second.result["baseline"] == first.result["baseline"]
    assert other.result["baseline_job_id"] == other_id
    assert other.result["tuning"]["epochs"] == 0


@NEEDS_ONNX
def test_a_job_under_a_latency_budget_measures_its_target_once(service: Service) -> None:
    wanted: dict[str, Any] = {
        "budget": Budget("latency_ns", 0.9),
        "target": "cpu-onnxruntime",
        "space": SpaceOptions(round_to=16),
        "effort": Effort(2),
        "confirmation": Confirmation(top_k=1, finetune_epochs=0, formats=()),
    }
    rows = [
        service.wait_for_state(submit(service, **wanted), JobState.SUCCEEDED, seconds=240)
        for _ in range(2)
    ]

    told: list[Any] = []
    for row in rows:
        with service.database.reading() as session:
            (ready,) = events.of_kinds(session, row.id, ("latency_table.ready",))
            told.append(targets.get(session, ready.data["target_id"]))
            (found,) = policies.of_job(session, row.id)
            trials = SqlTrialStore(service.database, row.id).trials()
        document = PolicyDocument.from_json(found.document)
        assert 0 < document.after.latency_ns <= 0.9 * document.before.latency_ns
        assert document.latency is not None
        assert document.latency["target"] == "cpu-onnxruntime"
        assert all(each.measurement.cost.latency_ns > 0 for each in trials if each.measurement)
    assert told[0].id == told[1].id  # the second job took what the first had measured
    assert told[0].processor == processor_name()


def check_everybody_names_the_same_policy_the_best(service: Service, row: JobRow) -> None:
    assert row.result is not None
    first, second = row.result["policies"]
    assert row.result["policy_id"] == first["policy_id"]
    assert first["search"]["score"] >= second["search"]["score"]
    assert first["artifacts"][:3] == ["network.safetensors", "policy.json", "card.md"]
    with http_service(service.settings) as http, http.client() as client:
        job = client.job(row.id)
        best, files = job.best(), {each["name"]: each for each in job.artifacts()}
        assert job.content["result"] == row.result
        assert client.policy(first["policy_id"]) == best
        for each in (first, second):
            name, document_name, *_ = each["artifacts"]
            path = service.settings.data_dir / f"artifacts/{row.id}/{document_name}"
            document = PolicyDocument.load(path)
            assert document.id == each["policy_id"]
            assert document.repair.weights_sha256 == f"sha256:{files[name]['sha256']}"
        assert best.id == first["policy_id"]
        report = service.settings.data_dir / f"artifacts/{row.id}/report.json"
        assert json.loads(report.read_text())["policy_id"] == best.id


def test_unknown_searcher_ends_the_job_with_a_problem_document(service: Service) -> None:
    job_id = submit(service, searcher="does-not-exist")

    row = service.wait_for_state(job_id, JobState.FAILED, seconds=60)

    assert row.error is not None
    assert row.error["code"] == "unknown-name"
    assert "choose one of" in row.error["detail"]


def test_killed_worker_leaves_no_children_and_its_job_goes_on(service: Service) -> None:
    worker = service.workers[-1]
    job_id = submit(service, effort=Effort(8))
    service.wait(job_id, lambda row: row.trials_done >= 2, seconds=60)
    listed = [path.read_text() for path in Path(f"/proc/{worker.pid}/task").glob("*/children")]
    children = [Path(f"/proc/{child}") for child in " ".join(listed).split()]
    assert children
    worker.kill()
    worker.wait()
    service.start_worker(WORKER)

    service.wait_for_state(job_id, JobState.SUCCEEDED, seconds=240)

    assert not [child for child in children if child.exists()]

    check_every_trial_is_stored_once(service, job_id, 8)
