from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from automl_compress.store import models as model_rows
from tests.api.conftest import (
    DIGITS_CONFIG,
    DIGITS_WEIGHTS,
    RunningService,
    problem,
    write_npz,
    write_weights,
)
from tests.api.conftest import grey_images as images_of


def register(service: RunningService, weights: Path | None = None, **changes: Any) -> Any:
    body: dict[str, Any] = {
        "name": "net",
        "architecture": {"name": "resnet-20", "config": DIGITS_CONFIG},
        **changes,
    }
    if weights is not None:
        uploaded = service.http.post("/v1/files", content=weights.read_bytes())
        body["weights_file_id"] = uploaded.json()["id"]
    return service.post("/v1/models", body)


def count_models(service: RunningService) -> int:
    with service.database.reading() as session:
        return len(model_rows.page(session, limit=200).rows)


def test_a_network_is_traced_when_it_is_registered(
    service: RunningService, model: dict[str, Any]
) -> None:
    assert model["status"] == "ready"
    assert model["input_shape"] == [1, 8, 8]
    assert model["num_classes"] == 10
    # ResNet-20 on 1x8x8: a sixteenth of its MACs at 32x32 (40.8 M), less the stem's two channels.
    assert model["totals"]["macs"] == 2_516_608
    assert model["fingerprint"]["graph"].startswith("sha256:")
    assert {group["name"] for group in model["groups"]} >= {"conv1", "layer1.0.conv1"}
    assert [each["layers"] for each in model["obstacles"]] == [["linear"]]  # gives the classes
    assert len(model["layers"]) >= 20

    again = service.http.get(f"/v1/models/{model['id']}").json()
    assert again == model
    listed = service.http.get("/v1/models").json()["data"]
    assert {key: model[key] for key in listed[0]} in listed


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"architecture": {"name": "resnet-21"}}, "unknown-name", "resnet-20"),
        (
            {"architecture": {"name": "resnet-20", "config": {"depth": 3}}},
            "invalid",
            "image_size",
        ),
        (
            {"architecture": {"name": "resnet-20", "config": {"num_classes": "ten"}}},
            "invalid",
            "num_classes",
        ),
    ],
)
def test_an_architecture_that_does_not_exist_is_refused(
    service: RunningService, changes: dict[str, Any], code: str, says: str
) -> None:
    before = count_models(service)

    answer = problem(register(service, **changes), 422, code)

    assert says in answer["detail"]
    assert count_models(service) == before


def test_weights_of_another_architecture_are_refused(
    service: RunningService, tmp_path: Path
) -> None:
    changes = {"architecture": {"name": "resnet-32", "config": DIGITS_CONFIG}}
    before = count_models(service)

    answer = problem(register(service, DIGITS_WEIGHTS, **changes), 422, "weights-mismatch")

    assert "missing" in answer["detail"]
    assert "layer1.3" in answer["detail"]
    assert count_models(service) == before


def test_weights_that_are_not_finite_are_refused(service: RunningService, tmp_path: Path) -> None:
    weights = load_file(DIGITS_WEIGHTS)
    weights["conv1.weight"] = np.full_like(weights["conv1.weight"], np.nan)

    answer = problem(
        register(service, write_weights(tmp_path / "nan.safetensors", **weights)),
        422,
        "weights-mismatch",
    )

    assert "NaN" in answer["detail"]
    assert "conv1.weight" in answer["detail"]


def test_a_damaged_weights_file_is_refused(service: RunningService, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(DIGITS_WEIGHTS.read_bytes()[:-1000])

    problem(register(service, damaged), 422, "invalid-model")


def test_images_are_no_weights(service: RunningService, tmp_path: Path) -> None:
    archive = write_npz(tmp_path / "images.npz", *images_of())

    answer = problem(register(service, archive), 422, "invalid-model")

    assert answer["errors"][0]["pointer"] == "/weights_file_id"


def test_a_file_that_is_not_there_is_not_found(service: RunningService) -> None:
    missing = {"weights_file_id": "fil_00000000000000000000"}

    problem(register(service, **missing), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x", "architecture": {"name": "resnet-20"}, "colour": 1}, "/colour"),
        ({"name": "x"}, "/architecture"),
        ({"name": "", "architecture": {"name": "resnet-20"}}, "/name"),
        (
            {"name": "x", "architecture": {"name": "resnet-20"}, "weights_file_id": "../etc"},
            "/weights_file_id",
        ),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(
    service: RunningService, body: dict[str, Any], pointer: str
) -> None:
    answer = problem(service.post("/v1/models", body), 422, "invalid")

    assert [each["pointer"] for each in answer["errors"]] == [pointer]
