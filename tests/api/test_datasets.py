import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automl_api.intake import inspection
from automl_api.sources import DataSource
from automl_compress.core.errors import InvalidInput
from automl_compress.data.augmentation import Augmentation
from automl_compress.store import datasets as dataset_rows
from tests.api.conftest import RunningService, grey_images, problem, write_npz
from tests.automl_compress.data.image_archives import archive, class_files


def upload(service: RunningService, path: Path) -> str:
    return service.http.post("/v1/files", content=path.read_bytes()).json()["id"]


def register(service: RunningService, source: dict[str, Any], **options: Any) -> httpx.Response:
    return service.post("/v1/datasets", {"name": "data", "source": source, **options})


def count_datasets(service: RunningService) -> int:
    with service.database.reading() as session:
        return len(dataset_rows.page(session, limit=200).rows)


def png(size: int, seed: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path: Path, count: int) -> Path:
    images = [{"bytes": png(8, seed), "path": None} for seed in range(count)]
    pq.write_table(pa.table({"image": images, "label": [i % 2 for i in range(count)]}), path)
    return path


def test_the_built_in_digits_have_three_disjoint_splits(
    service: RunningService, dataset: dict[str, Any]
) -> None:
    sizes = {name: split["images"] for name, split in dataset["splits"].items()}

    assert sizes == {"train": 1000, "search": 397, "test": 400}
    assert len({split["provenance"] for split in dataset["splits"].values()}) == 3
    assert dataset["input_shape"] == [1, 8, 8]
    assert dataset["num_classes"] == 10
    assert service.http.get(f"/v1/datasets/{dataset['id']}").json() == dataset
    assert dataset in service.http.get("/v1/datasets").json()["data"]


def test_an_npz_archive_is_split_by_a_permutation(service: RunningService, tmp_path: Path) -> None:
    archive = write_npz(tmp_path / "images.npz", *grey_images(50))

    made = register(service, {"kind": "npz", "file_id": upload(service, archive)}).json()

    assert {name: each["images"] for name, each in made["splits"].items()} == {
        "train": 30,
        "search": 10,
        "test": 10,
    }


def test_what_training_may_do_to_images_is_told_and_kept(
    service: RunningService, tmp_path: Path
) -> None:
    file_id = upload(service, write_npz(tmp_path / "images.npz", *grey_images(50)))
    source = {"kind": "npz", "file_id": file_id}

    plain = register(service, source).json()
    made = register(service, source, augmentation={"flip": True, "crop_padding": 2}).json()

    assert plain["augmentation"] == {"flip": False, "crop_padding": 0}
    assert made["augmentation"] == {"flip": True, "crop_padding": 2}
    with service.database.reading() as session:
        stored = DataSource.from_json(dataset_rows.get(session, made["id"]).source)
    assert stored.load(service.settings.data_dir).augmentation == Augmentation(True, 2)
    page = service.http.get(f"/datasets/{made['id']}").text
    assert "<dt>training may</dt><dd>mirror images, shift them by 2 pixels</dd>" in page
    wrong = register(service, source, augmentation={"crop_padding": 65})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["pointer"] == "/augmentation/crop_padding"


def test_a_zip_archive_of_split_folders_keeps_them_apart(
    service: RunningService, tmp_path: Path
) -> None:
    folders = [f"strips/{split}/{name}" for split in ("train", "test") for name in ("a", "b")]
    (tmp_path / "strips.zip").write_bytes(archive(class_files(*folders, shape=(4, 9))))
    file = service.http.post("/v1/files", content=(tmp_path / "strips.zip").read_bytes()).json()

    made = register(service, {"kind": "zip", "file_id": file["id"]}).json()

    assert (file["format"], file["purpose"]) == ("zip", "dataset")
    assert (made["kind"], made["input_shape"], made["num_classes"]) == ("zip", [1, 4, 9], 2)
    assert {name: each["images"] for name, each in made["splits"].items()} == {
        "train": 10,
        "search": 5,
        "test": 5,
    }


def test_a_client_uploads_a_folder_of_class_folders(
    service: RunningService, tmp_path: Path
) -> None:
    for name, content in class_files("a", "b").items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(content)
    (tmp_path / "images" / "a" / "notes.txt").write_text("not sent")

    with service.client() as client:
        made = client.create_dataset(tmp_path / "images")
        assert (made["name"], made["kind"], made["input_shape"]) == ("images", "zip", [3, 4, 5])
        (tmp_path / "empty").mkdir()

        with pytest.raises(InvalidInput, match="holds neither"):
            client.create_dataset(tmp_path / "empty")


def test_a_parquet_pair_keeps_its_test_file_apart(service: RunningService, tmp_path: Path) -> None:
    train = upload(service, write_parquet(tmp_path / "a.parquet", 12))
    test = upload(service, write_parquet(tmp_path / "b.parquet", 6))
    normalisation = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}

    made = register(
        service,
        {"kind": "parquet", "train_file_id": train, "test_file_id": test},
        normalisation=normalisation,
    ).json()

    assert made["input_shape"] == [3, 8, 8]
    assert made["splits"]["train"]["images"] == 12
    assert made["splits"]["search"]["provenance"] == "test.parquet rows 0-2"
    assert made["splits"]["test"]["provenance"] == "test.parquet rows 3-5"
    assert made["normalisation"] == normalisation


def test_more_uploads_than_can_be_checked_at_once_are_told_to_come_again(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(service, write_npz(tmp_path / "images.npz", *grey_images(50)))
    source = {"kind": "npz", "file_id": file_id}
    monkeypatch.setattr(inspection, "_WAITING", threading.BoundedSemaphore(1))
    held = threading.BoundedSemaphore(1)
    monkeypatch.setattr(inspection, "_RUNNING", held)
    with ThreadPoolExecutor(1) as other:
        held.acquire()
        first = other.submit(register, service, source)
        deadline = time.monotonic() + 60
        while inspection._WAITING._value:  # until the first one waits
            assert time.monotonic() < deadline
            time.sleep(0.01)

        refused = register(service, source)
        held.release()

        assert first.result().status_code == 201
    assert problem(refused, 503, "busy")["title"].startswith("The service checks as many")
    assert refused.headers["Retry-After"] == "10"
    assert register(service, source).status_code == 201


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "\x9b"])
def test_a_name_that_a_terminal_would_obey_is_refused(service: RunningService, name: str) -> None:
    body = {"name": name, "source": {"kind": "builtin", "name": "digits"}}
    told = service.post("/v1/datasets", body)

    assert problem(told, 422, "invalid")["errors"][0]["pointer"] == "/name"


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), "0"),
        (np.zeros((10, 8, 8), np.uint8), np.zeros(9, np.int64), "label"),
        (np.zeros((10, 8), np.uint8), np.zeros(10, np.int64), "shape"),
    ],
    ids=["empty", "too few labels", "no images"],
)
def test_data_that_cannot_be_used_are_refused(
    service: RunningService, tmp_path: Path, images: np.ndarray, labels: np.ndarray, says: str
) -> None:
    file_id = upload(service, write_npz(tmp_path / "images.npz", images, labels))
    before = count_datasets(service)

    answer = problem(register(service, {"kind": "npz", "file_id": file_id}), 422, "invalid-data")

    assert says in answer["detail"]
    assert count_datasets(service) == before


def test_a_corrupt_archive_is_refused(service: RunningService, tmp_path: Path) -> None:
    whole = write_npz(tmp_path / "images.npz", *grey_images()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])

    file_id = upload(service, tmp_path / "cut.npz")
    problem(register(service, {"kind": "npz", "file_id": file_id}), 422, "invalid-data")


def test_a_pickled_array_is_never_unpickled(service: RunningService, tmp_path: Path) -> None:
    images = np.array([{"a": 1}] * 10, dtype=object)
    archive = write_npz(tmp_path / "objects.npz", images, np.arange(10))

    file_id = upload(service, archive)
    problem(register(service, {"kind": "npz", "file_id": file_id}), 422, "invalid-data")


def test_an_unknown_built_in_set_is_answered_with_the_known_ones(service: RunningService) -> None:
    answer = problem(register(service, {"kind": "builtin", "name": "mnist"}), 422, "unknown-name")

    assert "digits" in answer["detail"]


@pytest.mark.parametrize("name", ["/etc", "../..", "./tests"])
def test_a_path_of_the_server_is_no_built_in_set(service: RunningService, name: str) -> None:
    problem(register(service, {"kind": "builtin", "name": name}), 422, "unknown-name")


def test_the_kind_must_be_the_file_s(service: RunningService, tmp_path: Path) -> None:
    file_id = upload(service, write_npz(tmp_path / "images.npz", *grey_images()))

    answer = problem(
        register(service, {"kind": "parquet", "train_file_id": file_id}), 422, "invalid-data"
    )

    assert answer["errors"][0]["pointer"] == "/source/train_file_id"
