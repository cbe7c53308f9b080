"""Zip archives of class folders: the images of the folder itself, and nothing that harms."""

import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch

from automl_compress.core.errors import DataInvalid
from automl_compress.data import decoding
from automl_compress.data.datasets import ImageData
from automl_compress.data.loading import load_data
from tests.automl_compress.data.image_archives import (
    HONEST,
    HOSTILE,
    archive,
    class_files,
    picture,
)


def loaded(tmp_path: Path, content: bytes) -> ImageData:
    path = tmp_path / "images.zip"
    path.write_bytes(content)
    return load_data(path)


def sizes(data: ImageData) -> list[int]:
    return [len(data.split(name)) for name in ("train", "search", "test")]


@pytest.mark.parametrize("root", ["", "animals/", "downloads/animals/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_class_folders_are_split_by_chance(tmp_path: Path, root: str, compression: int) -> None:
    content = archive(class_files(f"{root}dog", f"{root}cat"), compression)

    data = loaded(tmp_path, content)

    assert sizes(data) == [6, 2, 2]
    assert (data.name, data.num_classes, data.input_shape) == ("images", 2, (3, 4, 5))


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "search", "test")])
@pytest.mark.parametrize("shape", [(4, 5, 3), (7, 2)], ids=["colour", "grey, not square"])
def test_an_archive_holds_what_its_folder_holds(
    tmp_path: Path, splits: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    folders = [f"{split}/{name}" for split in splits for name in ("cat", "dog")]
    files = class_files(*folders, shape=shape)
    for name, content in files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)

    data, expected = loaded(tmp_path, archive(files)), load_data(tmp_path / "data")

    assert data.input_shape == (shape[2] if shape[2:] else 1, *shape[:2])
    for name, split in expected.splits.items():
        assert torch.equal(data.split(name).images, split.images)
        assert torch.equal(data.split(name).labels, split.labels)
        assert data.split(name).provenance == split.provenance


def test_every_format_is_told_by_its_content(tmp_path: Path) -> None:
    kinds = ("PNG", "BMP", "PPM", "PNG", "BMP")
    files = {
        f"{name}/{place}.jpg": picture(place, kind=kind)
        for name in ("cat", "dog")
        for place, kind in enumerate(kinds)
    }

    assert sizes(loaded(tmp_path, archive(files))) == [6, 2, 2]


def test_hidden_files_and_what_systems_add_are_left_out(tmp_path: Path) -> None:
    added = {"__MACOSX/cat/._0.png": b"x", ".DS_Store": b"x", "cat/Thumbs.db": b"x", "cat/.a": b"x"}

    assert sizes(loaded(tmp_path, archive({**added, **HONEST}, 0, "cat", "dog"))) == [6, 2, 2]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    content = HOSTILE[name].make()
    tracemalloc.start()

    try:
        with pytest.raises(DataInvalid) as refusal:
            loaded(tmp_path, content)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert HOSTILE[name].says in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert peak_bytes < 2**25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.zip"]


def test_images_that_together_take_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "LARGEST_BYTES", 9 * 4 * 5 * 3)

    with pytest.raises(DataInvalid, match="take 600 bytes of memory; at most 540"):
        loaded(tmp_path, archive(HONEST))
