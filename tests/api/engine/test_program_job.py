"""A real job on a network that came as a program, by a worker of its own."""

import json

import pytest
import torch

from automl_compress.compress.apply import apply_policy
from automl_compress.core import Budget, Confirmation, Effort, Recipe, StudySpec
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.networks.program_file.reading import read_program
from automl_compress.store import JobState, artifacts, jobs, policies
from tests.api.engine.conftest import Service, check_every_trial_is_stored_once
from tests.api.engine.test_compression_job import WORKER
from tests.automl_compress.networks.program_file.networks import program_of
from tests.automl_compress.store.conftest import new_job

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def grey_program() -> bytes:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.ReLU()),
        *(torch.nn.Conv2d(6, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)),
        *(torch.nn.Flatten(), torch.nn.Linear(8, 10)),
    )
    return program_of(network.eval(), (1, 8, 8))


@on_sqlite
def test_a_job_on_a_program_ends_with_a_smaller_network(service: Service) -> None:
    folder = service.settings.data_dir / "files"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.pt2").write_bytes(grey_program())
    new = new_job(service.database)
    new.spec.clear()
    new.spec.update(
        model={"architecture": None, "program": "files/net.pt2", "name": "net"},
        dataset={"kind": "builtin", "location": ["digits"]},
        study=StudySpec(
            "random",
            Budget("macs", 0.5),
            Effort(3),
            recipe=Recipe(images=64, calibration_images=64),
            confirmation=Confirmation(top_k=1, finetune_epochs=1),
        ).to_json(),
    )
    with service.database.session() as session:
        row = jobs.create(session, new)
    service.queue.submit(row.id)
    service.start_worker(WORKER)

    row = service.wait_for_state(row.id, JobState.SUCCEEDED, seconds=200)

    check_every_trial_is_stored_once(service, row.id, 3)
    with service.database.reading() as session:
        (stored_policy,) = policies.of_job(session, row.id)
        stored = {each.name: each for each in artifacts.of_job(session, row.id)}
    assert stored_policy.document["model"]["architecture"] is None
    assert ("network.onnx" in stored) == is_installed(*ONNX_PACKAGES), row.result
    path = service.settings.data_dir / stored["policy.json"].path
    weights = service.settings.data_dir / stored["network.safetensors"].path
    assert json.loads(path.read_text())["model"]["name"] == "net"
    small = apply_policy(read_program(folder / "net.pt2").module, path, weights)
    parameters = sum(each.numel() for each in small.parameters())
    assert parameters == stored_policy.document["totals"]["parameters"]["after"]
