"""What a job hands out beside policy and weights, and the same by the command line."""

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from automl_api.engine import exports
from automl_api.engine.exports import Exportable, write_exports
from automl_api.engine.pipeline import OwnedJob
from automl_api.local_export import ExportOrder, Weights, export_files, export_orders
from automl_compress.compress.apply import apply_policy
from automl_compress.core import Measurement, Policy, Recipe, Suggestion, Trial, TrialState
from automl_compress.core.document import PolicyDocument, RepairNote
from automl_compress.core.errors import InvalidInput, WeightsMismatch
from automl_compress.costs import AnalyticCosts
from automl_compress.export.agreement import random_images
from automl_compress.export.documents import model_reference, network_bytes, policy_document
from automl_compress.export.sessions import onnxruntime_session
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.surgery import cut_module
from automl_compress.networks.trace import trace
from automl_compress.store import (
    ArtifactFiles,
    Database,
    SqlTrialStore,
    WrittenFile,
    artifacts,
    jobs,
)
from automl_compress.store.artifacts import NewArtifact
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS, RunningService, job_body
from tests.api.test_cli import run
from tests.api.test_jobs import finish
from tests.automl_compress.export.conftest import NEEDS_ONNX
from tests.fakes import measurement_of

SHAPE = (1, 8, 8)


def uncut() -> nn.Module:
    module = build_network("resnet-20", DIGITS_CONFIG)
    load_weights(module, DIGITS_WEIGHTS)
    return module.eval()


@dataclass(frozen=True)
class Confirmed:
    """A tuned network: its document and its weights' file."""

    document: PolicyDocument
    weights: Path
    policy: Path


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Confirmed:
    """Keeps the even channels; the weights no longer follow from the uncut ones."""
    folder = tmp_path_factory.mktemp("confirmed")
    network = trace(uncut(), SHAPE)
    kept = [tuple(range(0, group.channels, 2)) for group in network.graph.groups]
    small = cut_module(network.module, network.plan, [torch.tensor(each) for each in kept])
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.mul_(1.01)
    content = network_bytes(small)
    (folder / "network.safetensors").write_bytes(content)
    widths = [len(each) for each in kept]
    cost = AnalyticCosts(network.graph).cost(widths)
    scored = Measurement(
        cost, 0.9, 9, 10, None, None, "test: digits", "confirmed", Recipe(), 0, 1, 0, 0
    )
    document = policy_document(
        network,
        model_reference(network, "digits", "resnet-20", DIGITS_CONFIG),
        Policy.from_widths(network.graph, widths).with_kept(kept),
        (scored,),
        (scored,),
        RepairNote("fine-tuned", "sha256:" + hashlib.sha256(content).hexdigest()),
        {"seed": 0},
        identity="pol_1",
    )
    document.save(folder / "policy.json")
    return Confirmed(document, folder / "network.safetensors", folder / "policy.json")


@pytest.fixture
def job(tmp_path: Path) -> OwnedJob:
    database = Database(f"sqlite:///{tmp_path}/database.sqlite")  # no row is written
    return OwnedJob("job_1", "here", database, ArtifactFiles(tmp_path / "data"))


def stored(job: OwnedJob, confirmed: Confirmed) -> WrittenFile:
    return job.files.write("artifacts/job_1/network.safetensors", [confirmed.weights.read_bytes()])


def exportable(job: OwnedJob, confirmed: Confirmed, suffix: str = "") -> Exportable:
    return Exportable(confirmed.document, stored(job, confirmed), suffix)


@NEEDS_ONNX
def test_a_job_gets_a_card_and_a_checked_onnx_file(job: OwnedJob, confirmed: Confirmed) -> None:
    (found,) = write_exports(job, [exportable(job, confirmed, "-2")], ("onnx",), lambda: None)

    assert [new.name for new, _ in found.artifacts] == ["card-2.md", "network-2.onnx"]
    card, onnx = (job.files.path_of(written.path) for _, written in found.artifacts)
    assert confirmed.document.digest in card.read_text()
    assert found.notes["onnx"]["batches"] == [1, 7, 32]
    assert found.notes["onnx"]["difference"] < 1e-5
    network = apply_policy(uncut(), confirmed.document, confirmed.weights)
    images = random_images(5, SHAPE)
    with torch.no_grad():
        expected = network(images).numpy()
    assert np.allclose(onnxruntime_session(onnx.read_bytes()).run(images.numpy()), expected, 1e-4)


def test_without_formats_a_job_gets_a_card_alone(job: OwnedJob, confirmed: Confirmed) -> None:
    (found,) = write_exports(job, [exportable(job, confirmed)], (), lambda: None)

    assert [new.name for new, _ in found.artifacts] == ["card.md"]
    assert found.notes == {}


def test_a_format_whose_engine_is_missing_takes_no_other_along(
    confirmed: Confirmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    weights = Weights(confirmed.weights)
    order = ExportOrder(confirmed.document, weights, tmp_path / "network", ("onnx", "pt2"))

    (notes,) = export_orders([order])

    assert "automl-compress[engines]" in notes["onnx"]["failure"]
    assert notes["pt2"]["files"] == ["network.pt2"]
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]


def end_at_once(*_: object) -> None:
    os._exit(3)


def test_an_exporter_that_dies_fails_no_job(
    job: OwnedJob, confirmed: Confirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "export_orders", end_at_once)

    (found,) = write_exports(job, [exportable(job, confirmed)], ("onnx", "pt2"), lambda: None)

    assert [new.name for new, _ in found.artifacts] == ["card.md"]
    assert all("exit code 3" in found.notes[name]["failure"] for name in ("onnx", "pt2"))


@NEEDS_ONNX
def test_the_command_exports_files(confirmed: Confirmed, tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"

    told = run(
        "export", str(confirmed.policy), "--network", str(confirmed.weights), "-o", str(target)
    )

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"wrote {target}, ")
    assert "at batches 1, 7, 32 it differs from torch by" in told.stdout
    network = apply_policy(uncut(), confirmed.document, confirmed.weights)
    images = random_images(2, SHAPE)
    with torch.no_grad():
        expected = network(images).numpy()
    found = onnxruntime_session(target.read_bytes()).run(images.numpy())
    assert np.allclose(found, expected, 1e-4)


@pytest.mark.e2e
@NEEDS_ONNX
def test_the_command_exports_a_job_of_the_service(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    confirmed: Confirmed,
    tmp_path: Path,
) -> None:
    job_id = service.post("/v1/jobs", job_body(model, dataset)).json()["id"]
    scored = measurement_of(confirmed.document.after, 0.9)
    store = SqlTrialStore(service.database, job_id)
    store.asked(Suggestion(0, confirmed.document.policy))
    store.told(Trial(0, confirmed.document.policy, TrialState.COMPLETE, scored))
    finish(service, job_id, confirmed.document)
    content = confirmed.weights.read_bytes()
    written = service.files.write(f"artifacts/{job_id}/network.safetensors", [content])
    new = NewArtifact(job_id, "network.safetensors", "network", "application/octet-stream")
    with service.database.session() as session:
        artifacts.put(session, new, written)
        row = jobs.lock(session, job_id)
        (told,) = (row.result or {})["policies"]
        told |= {"trial_number": 0, "test": scored.to_json(), "artifacts": []}
        row.result = {**told, "policies": [told], "baseline": scored.to_json()}
    target = tmp_path / "small.zip"

    wrote = run(
        "export", job_id, "--format", "bundle", "-o", str(target), "--json", url=service.url
    )

    assert (wrote.returncode, wrote.stderr) == (0, "")
    assert json.loads(wrote.stdout)["files"] == [str(target)]
    with zipfile.ZipFile(target) as bundle:
        assert json.loads(bundle.read("policy.json")) == confirmed.document.to_json()
        assert bundle.read("network.safetensors") == content
        assert f"<td>{job_id}</td>" in bundle.read("report.html").decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either -o FILE"),
        (["-o", "a.onnx", "--optuna", "b.log"], "give either -o FILE"),
        (["-o", "a.tflite"], "has the suffix '.tflite'"),
        (["-o", "a.pt2"], "give --network"),
        (["-o", "a.pt2", "--format", "onnx"], "allowed here: .onnx (onnx)"),
    ],
)
def test_wrong_usage_is_said(
    refusal: Callable[..., str],
    confirmed: Confirmed,
    tmp_path: Path,
    arguments: list[str],
    said: str,
) -> None:
    assert said in refusal("export", str(confirmed.policy), *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_policy_file_that_is_not_there_is_no_job(refusal: Callable[..., str]) -> None:
    told = refusal("export", "nowhere/policy.json", "-o", "a.pt2")

    assert "nowhere/policy.json cannot be read (No such file or directory)" in told


def test_weights_given_for_a_job_are_refused(
    refusal: Callable[..., str], confirmed: Confirmed
) -> None:
    told = refusal("export", "job_1", "--network", str(confirmed.weights), "-o", "a.pt2")

    assert "job_1 is no file" in told


def test_weights_that_do_not_make_the_network_are_refused(
    confirmed: Confirmed, tmp_path: Path
) -> None:
    document, target = confirmed.document, tmp_path / "small.pt2"
    undigested = replace(document, repair=RepairNote("fine-tuned"))

    with pytest.raises(InvalidInput, match=r"was repaired \(fine-tuned\)"):
        export_files(document, Weights(uncut=DIGITS_WEIGHTS), target)
    with pytest.raises(WeightsMismatch, match="SHA-256"):
        export_files(document, Weights(network=DIGITS_WEIGHTS), target)
    with pytest.raises(WeightsMismatch, match="does not say which weights"):
        export_files(undigested, Weights(network=confirmed.weights), target)
    assert not target.exists()


def test_a_policy_without_repair_is_exported_from_the_uncut_weights(
    confirmed: Confirmed, tmp_path: Path
) -> None:
    plain = replace(confirmed.document, repair=RepairNote())

    written = export_files(plain, Weights(uncut=DIGITS_WEIGHTS), tmp_path / "small.pt2")

    assert written.agreement is not None
    assert written.agreement.difference == 0.0
