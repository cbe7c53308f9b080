"""The pages of networks, of data sets and of the system."""

import base64
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from automl_api.graph_json import graph_to_json
from automl_api.intake.samples import LARGEST_SIDE, samples_of
from automl_api.settings import Settings
from automl_compress.data.datasets import Normalisation, Split
from automl_compress.networks.architectures import build_network
from automl_compress.networks.trace import trace
from automl_compress.store import datasets, leases, models
from tests.api.conftest import RunningService, job_body, running_service, write_npz
from tests.api.dashboard_pages import HOSTILE
from tests.api.test_jobs import submit


def test_the_page_of_a_network_tells_what_is_cut_together_and_what_is_not(
    service: RunningService, model: dict[str, Any]
) -> None:
    page = service.http.get(f"/models/{model['id']}").text

    assert model["fingerprint"]["graph"] in page
    assert f"{model['totals']['macs']:,}" in page
    assert re.findall(r'<tr data-group="([^"]+)"', page) == [g["name"] for g in model["groups"]]
    assert "it carries the network&#39;s output" in page
    assert '<tr data-name="linear" data-whole>' in page
    assert "No job has profiled this network." in page


def test_the_layers_of_a_network_cost_what_the_whole_network_costs(
    service: RunningService, model: dict[str, Any]
) -> None:
    page = service.http.get(f"/models/{model['id']}").text
    table = page[page.index('id="layers-table"') :]
    cells = re.findall(r'<td class="number">([\d,]+)</td><td class="number">[\d.]+ %</td>', table)

    macs = [int(each.replace(",", "")) for each in cells]
    assert len(macs) == 20
    assert sum(macs) == model["totals"]["macs"]


@pytest.mark.parametrize("name", ["mobilenet-v2", "densenet-bc-100", "squeezenet"])
def test_every_kind_of_network_has_its_page(service: RunningService, name: str) -> None:
    network = build_network(name, {})
    shape = (3, 32, 32)
    graph = trace(network, shape).graph
    with service.database.session() as session:
        row = models.add(
            session,
            name=HOSTILE,
            source={"architecture": name, "config": {}},
            weights_file_id=None,
            details={
                "fingerprint": {"graph": graph.fingerprint, "weights": "sha256:0"},
                "input_shape": list(shape),
                "num_classes": 10,
                "totals": {"macs": 1, "parameters": 1, "size_bytes": 1, "bit_operations": 1},
                "graph": graph_to_json(graph),
            },
        )

    page = service.http.get(f"/models/{row.id}")

    assert page.status_code == 200
    assert page.text.count("data-lane=") == len(graph.groups)
    assert "<script>alert" not in page.text


def test_the_page_of_data_tells_the_splits_and_the_jobs(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    submit(service, job_body(model, dataset) | {"name": "a job on the digits"})

    page = service.http.get(f"/datasets/{dataset['id']}").text

    for split in dataset["splits"].values():
        assert html.escape(split["provenance"]) in page
        assert f"{split['images']:,}" in page
    assert "a job on the digits" in page
    assert "data:image/png" not in page, "reading images takes seconds: they come by another page"


def test_the_images_are_those_of_the_train_split(
    service: RunningService, dataset: dict[str, Any]
) -> None:
    page = service.http.get(f"/datasets/{dataset['id']}/images").text

    shown = re.findall(
        r'<img src="data:image/png;base64,([^"]+)" alt="Training image \d+, class (\d)"', page
    )
    assert [int(label) for _, label in shown] == [each for each in range(10) for _ in range(4)]
    digits: Any = load_digits()
    known = {
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    for png, label in shown:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
        assert pixels.shape == (8, 8)
        assert (pixels.tobytes(), int(label)) in known


def test_images_are_read_once(service: RunningService, dataset: dict[str, Any]) -> None:
    first = service.http.get(f"/datasets/{dataset['id']}/images").text
    kept = service.files.path_of(f"samples/{dataset['id']}.json")
    written = kept.stat().st_mtime_ns

    assert service.http.get(f"/datasets/{dataset['id']}/images").text == first
    assert kept.stat().st_mtime_ns == written


def test_data_that_are_gone_are_told_on_a_page(service: RunningService, tmp_path: Path) -> None:
    file = write_npz(tmp_path / "gone.npz", np.zeros((8, 4, 4), np.uint8), np.arange(8) % 2)
    source = {"kind": "npz", "location": [str(file)], "options": {}}
    split = {"images": 2, "provenance": "gone.npz"}
    details = {
        "num_classes": 2,
        "input_shape": [1, 4, 4],
        "normalisation": {"mean": [0.5], "std": [0.5]},
        "splits": dict.fromkeys(("train", "search", "test"), split),
    }
    with service.database.session() as session:
        row = datasets.add(session, name=HOSTILE, source=source, file_id=None, details=details)
    file.unlink()

    page = service.http.get(f"/datasets/{row.id}/images")

    assert page.status_code == 404
    assert "gone.npz is not in the data directory" in page.text


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGBA")])
def test_images_of_any_size_and_number_of_channels_can_be_looked_at(
    channels: int, mode: str
) -> None:
    images = torch.randint(0, 256, (6, channels, 300, 200), dtype=torch.uint8)
    labels = torch.tensor([1, 0, 1, 2, 0, 1])
    normalisation = Normalisation((0.5,) * channels, (0.5,) * channels)

    found = samples_of(Split("train", images, labels, normalisation, "rows"), 3)

    assert [(each["label"], each["place"]) for each in found] == [
        (0, 1), (0, 4), (1, 0), (1, 2), (1, 5), (2, 3),
    ]  # fmt: skip
    for each in found:
        picture = Image.open(io.BytesIO(base64.b64decode(each["png"])))
        assert picture.mode == mode
        assert picture.size == (64, LARGEST_SIDE)


def test_a_signal_is_looked_at_as_a_strip_with_a_row_for_each_channel() -> None:
    signals = torch.randint(0, 256, (2, 3, 40), dtype=torch.uint8)
    normalisation = Normalisation((0.5,) * 3, (0.5,) * 3)

    found = samples_of(Split("train", signals, torch.arange(2), normalisation, "rows"), 2)

    for each, signal in zip(found, signals, strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(each["png"])))
        assert torch.equal(torch.from_numpy(np.array(picture)), signal)


def test_of_many_classes_the_first_are_shown() -> None:
    images = torch.zeros(500, 1, 2, 2, dtype=torch.uint8)
    split = Split("train", images, torch.arange(500), Normalisation((0.5,), (0.5,)), "rows")

    assert [each["label"] for each in samples_of(split, 500)] == [*range(40)]


def test_the_system_page_shows_who_works_and_what_waits(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    waiting = submit(service, job_body(model, dataset) | {"name": HOSTILE})
    assert "automl-compress worker" in service.http.get("/system").text, "nobody works"
    with service.database.session() as session:
        leases.register(session, "host:1:a", "the worker's machine")

    page = service.http.get("/system").text

    assert "the worker&#39;s machine" in page
    assert "alive" in page
    assert waiting["id"] in page
    assert 'href="./?status=queued"' in page


def test_empty_lists_tell_the_next_command(tmp_path: Path) -> None:
    with running_service(Settings(data_dir=tmp_path)) as running:
        for path in ("/models", "/datasets"):
            page = running.http.get(path).text
            assert "automl-compress search" in page
            assert 'href="./new"' in page
        assert "Nothing waits" in running.http.get("/system").text


@pytest.mark.parametrize("path", ["/models/mdl_0", "/datasets/dat_0", "/datasets/dat_0/images"])
def test_what_is_not_there_is_told_on_a_page(service: RunningService, path: str) -> None:
    page = service.http.get(path)

    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")
