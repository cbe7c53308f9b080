"""Every kind of data, whole and broken."""

import gzip
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from automl_compress.core.errors import DataInvalid, InvalidInput, UnknownName
from automl_compress.data import digits, optional
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import IMAGENET_NORMALISATION, ImageData
from automl_compress.data.loading import data_names, load_data
from automl_compress.data.rows import DataOptions, measure_normalisation, stratified_order


def pixels(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def sizes(data: ImageData) -> list[int]:
    return [len(data.split(name)) for name in ("train", "search", "test")]


def provenances(data: ImageData) -> list[str]:
    return [data.split(name).provenance for name in ("train", "search", "test")]


# --- names and paths


def test_unknown_source_lists_the_names() -> None:
    assert data_names() == ("digits", "fashion-mnist")
    with pytest.raises(UnknownName, match="'absent'; choose one of: a path, digits, fashion-mnist"):
        load_data("absent")


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")

    with pytest.raises(DataInvalid, match=r"ends in '.csv'; a data file must end in one of: .npz"):
        load_data(tmp_path / "data.csv")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="holds no data that can be loaded"):
        load_data(tmp_path)


def test_missing_package_names_the_extra() -> None:
    with pytest.raises(InvalidInput, match=r"pip install automl-compress\[search\]"):
        optional.require("automl_compress_absent", "absent", "this test")


# --- digits


def test_digits_are_split_without_overlap_and_in_balance() -> None:
    data = load_data("digits")

    assert sizes(data) == [1000, 397, 400]
    assert (data.input_shape, data.num_classes) == ((1, 8, 8), 10)
    labels = [torch.bincount(split.labels) / len(split) for split in data.splits.values()]
    torch.testing.assert_close(labels[0], labels[2], rtol=0, atol=0.01)
    images = {
        name: {image.numpy().tobytes() for image in split.images}
        for name, split in data.splits.items()
    }
    assert not images["train"] & images["search"]
    assert not images["train"] & images["test"]
    assert not images["search"] & images["test"]
    assert "positions 1,000-1,396" in data.split("search").provenance


def test_digits_are_those_of_scikit_learn_wherever_it_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = load_data("digits")
    monkeypatch.setattr(digits, "find_spec", lambda name: None)

    for split, other in zip(read.splits.values(), load_data("digits").splits.values(), strict=True):
        assert torch.equal(split.images, other.images)
        assert torch.equal(split.labels, other.labels)


def test_training_images_are_normalised_to_zero_mean_and_unit_deviation() -> None:
    images = load_data("digits").split("train").normalised()

    assert abs(images.mean().item()) < 1e-4
    assert abs(images.std().item() - 1) < 1e-3


def test_measured_normalisation_agrees_with_numpy() -> None:
    images = pixels(1500, 3, 2, 2)

    measured = measure_normalisation(torch.from_numpy(images))

    np.testing.assert_allclose(measured.mean, (images / 255).mean((0, 2, 3)))
    np.testing.assert_allclose(measured.std, (images / 255).std((0, 2, 3)))


def test_every_stretch_of_a_stratified_order_is_balanced() -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 200])

    order = stratified_order(labels, seed=1)

    assert sorted(order) == list(range(1000))
    for start in range(0, 1000, 100):
        counts = np.bincount(labels[order[start : start + 100]], minlength=3)
        np.testing.assert_allclose(counts, [50, 30, 20], atol=2)


# --- npz


def save_npz(folder: Path, images: object, labels: object) -> Path:
    path = folder / "data.npz"
    np.savez(path, images=np.asarray(images), labels=np.asarray(labels))
    return path


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 5), (1, 6, 5)), ((3, 6, 5), (3, 6, 5)), ((6, 5, 3), (3, 6, 5)), ((6, 5, 1), (1, 6, 5))],
)
def test_npz_takes_any_layout(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    data = load_data(save_npz(tmp_path, pixels(10, *shape), np.arange(10) % 2))

    assert data.input_shape == expected
    assert sizes(data) == [6, 2, 2]
    assert (data.name, data.augmentation) == ("data", Augmentation())


@pytest.mark.parametrize("shape", [(9,), (1, 9), (2, 9)])
def test_npz_takes_signals_of_one_dimension(tmp_path: Path, shape: tuple[int, ...]) -> None:
    signals = pixels(20, *shape)
    np.savez(tmp_path / "pulses.npz", signals=signals, labels=np.arange(20) % 2)

    data = load_data(tmp_path / "pulses.npz")

    channels = signals.reshape(20, -1, 9)
    assert data.input_shape == channels.shape[1:]
    train = data.split("train").normalised()
    assert train.shape == (12, *data.input_shape)
    torch.testing.assert_close(train.mean((0, 2)), torch.zeros(len(train[0])), atol=1e-5, rtol=0)
    batches = data.split("train").training_batches(5, np.random.default_rng(0), Augmentation())
    assert next(images.shape for images, _ in batches) == (5, *data.input_shape)
    with pytest.raises(DataInvalid, match="signals, which are not flipped or shifted"):
        load_data(tmp_path / "pulses.npz", DataOptions(augmentation=Augmentation(flip=True)))


def test_npz_with_signals_of_two_dimensions_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", signals=pixels(20, 2, 3, 9), labels=np.arange(20) % 2)

    with pytest.raises(DataInvalid, match=r"'signals' .* must be \(N, L\) or \(N, C, L\)"):
        load_data(tmp_path / "data.npz")


def test_npz_with_channels_last_holds_the_same_pixels(tmp_path: Path) -> None:
    images = pixels(10, 6, 5, 3)

    data = load_data(save_npz(tmp_path, images, np.arange(10) % 2))

    loaded = {image.numpy().tobytes() for split in data.splits.values() for image in split.images}
    assert loaded == {np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes() for image in images}


LABELS = np.arange(10) % 2


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (pixels(0, 4, 4), [], r"shape \(0, 4, 4\); there must be images"),
        (pixels(10, 4, 4) / 255, LABELS, "is float64; it must be uint8"),
        (pixels(10, 4), LABELS, r"has shape \(10, 4\); it must be"),
        (pixels(10, 7, 4, 4), LABELS, r"has shape \(10, 7, 4, 4\); it must be"),
        (pixels(10, 4, 4), LABELS[:9], "but there are 10 images"),
        (pixels(10, 4, 4), np.where(LABELS, np.nan, 0.0), "row 1 has label nan"),
        (pixels(10, 4, 4), LABELS / 1, "'labels' of .* is float64"),
        (pixels(10, 4, 4), np.where(np.arange(10) == 7, -1, LABELS), "row 7 has label -1"),
        (
            pixels(10, 4, 4),
            np.where(np.arange(10) == 7, 10**9, LABELS),
            "row 7 has label 1000000000",
        ),
        (pixels(10, 4, 4), np.zeros(10, int), "are of class 0; there must be at least two"),
        (pixels(3, 4, 4), [0, 1, 0], "3 images, too few"),
    ],
)
def test_bad_npz_is_refused(tmp_path: Path, images: object, labels: object, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        load_data(save_npz(tmp_path, images, labels))


def test_labels_beyond_the_given_classes_are_refused(tmp_path: Path) -> None:
    path = save_npz(tmp_path, pixels(10, 4, 4), np.arange(10) % 3)

    with pytest.raises(DataInvalid, match=r"has label 2; labels must be 0 to 1"):
        load_data(path, DataOptions(num_classes=2))


def test_npz_never_unpickles(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, images=np.array([{"an": "object"}], dtype=object), labels=np.zeros(1, int))

    with pytest.raises(DataInvalid, match="without pickled objects"):
        load_data(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04cut short"])
def test_corrupt_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)

    with pytest.raises(DataInvalid, match=r"data.npz cannot be read"):
        load_data(tmp_path / "data.npz")


def test_npz_without_labels_says_which_arrays_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=pixels(10, 4, 4), targets=LABELS)

    with pytest.raises(DataInvalid, match="the arrays images, targets but not labels"):
        load_data(tmp_path / "data.npz")


# --- idx


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    for prefix, count in (("train", 12), ("t10k", 10)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = gzip.compress(idx(pixels(count, 5, 4)))
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(images)
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_idx_folder_splits_the_test_file_in_halves(idx_folder: Path) -> None:
    data = load_data(idx_folder)

    assert (data.input_shape, data.num_classes) == ((1, 5, 4), 3)
    assert provenances(data) == [
        "train-images-idx3-ubyte.gz rows 0-11",
        "t10k-images-idx3-ubyte.gz rows 0-4",
        "t10k-images-idx3-ubyte.gz rows 5-9",
    ]
    assert torch.equal(data.split("test").images[0, 0], torch.from_numpy(pixels(10, 5, 4)[5]))


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("t10k-labels-idx1-ubyte", lambda content: content[:-1], "holds 17 bytes but its header"),
        (
            "t10k-labels-idx1-ubyte",
            lambda content: b"\0\0\x0d" + content[3:],
            "begins with the bytes",
        ),
        ("t10k-labels-idx1-ubyte", lambda _: idx(np.zeros(3, np.uint8)), "10 images but its label"),
        ("train-images-idx3-ubyte.gz", lambda content: content[:50], "cannot be read"),
        ("train-images-idx3-ubyte.gz", lambda _: b"plain", "cannot be read"),
        ("t10k-labels-idx1-ubyte", None, "has neither t10k-labels-idx1-ubyte nor"),
    ],
)
def test_bad_idx_file_is_named(
    idx_folder: Path, name: str, spoil: Callable[[bytes], bytes] | None, message: str
) -> None:
    path = idx_folder / name
    if spoil is None:
        path.unlink()
    else:
        path.write_bytes(spoil(path.read_bytes()))

    with pytest.raises(DataInvalid, match=message):
        load_data(idx_folder)


def test_fashion_mnist_is_whole(fashion_mnist: Path) -> None:
    data = load_data("fashion-mnist")

    assert sizes(data) == [60_000, 5_000, 5_000]
    assert (data.input_shape, data.num_classes) == ((1, 28, 28), 10)
    assert data.normalisation.mean[0] == pytest.approx(0.286, abs=1e-3)  # as widely quoted


# --- parquet


def write_parquet(path: Path, contents: list[bytes | None], labels: list[int | None]) -> None:
    images = [{"bytes": content, "path": None} for content in contents]
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, image_type), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, path)


@pytest.fixture
def parquet_folder(tmp_path: Path) -> Path:
    for name, count in (("train", 8), ("test", 6)):
        contents: list[bytes | None] = [png(image) for image in pixels(count, 5, 4, 3)]
        write_parquet(tmp_path / f"{name}.parquet", contents, [n % 2 for n in range(count)])
    return tmp_path


def test_parquet_folder_splits_the_test_file_in_halves(parquet_folder: Path) -> None:
    declared = Augmentation(flip=True, crop_padding=4)

    data = load_data(parquet_folder, DataOptions("mine", IMAGENET_NORMALISATION, declared))

    assert (data.name, data.normalisation, data.augmentation) == (
        "mine",
        IMAGENET_NORMALISATION,
        declared,
    )
    assert provenances(data) == [
        "train.parquet rows 0-7",
        "test.parquet rows 0-2",
        "test.parquet rows 3-5",
    ]
    expected = torch.from_numpy(pixels(6, 5, 4, 3)[3:]).permute(0, 3, 1, 2)
    assert torch.equal(data.split("test").images, expected)


def test_only_the_first_training_rows_are_read_on_request(parquet_folder: Path) -> None:
    data = load_data(parquet_folder, DataOptions(max_train_images=4))

    assert sizes(data) == [4, 3, 3]
    assert data.split("train").provenance == "train.parquet rows 0-3"


def test_single_parquet_file_is_split_by_chance(tmp_path: Path) -> None:
    contents: list[bytes | None] = [png(image) for image in pixels(10, 4, 4)]
    write_parquet(tmp_path / "grey.parquet", contents, [n % 2 for n in range(10)])

    data = load_data(tmp_path / "grey.parquet")

    assert sizes(data) == [6, 2, 2]
    assert data.input_shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("content", "label", "message"),
    [
        (b"not an image", 0, r"train.parquet, row 8 cannot be decoded"),
        (png(pixels(1, 5, 4, 3)[0])[:-40], 0, r"train.parquet, row 8 cannot be decoded"),
        (png(pixels(1, 4, 4, 3)[0]), 0, "row 8 is RGB 4x4, the first one RGB 4x5"),
        (png(pixels(1, 5, 4)[0]), 0, "row 8 is L 4x5, the first one RGB 4x5"),
        (png(pixels(1, 2000, 1, 3)[0]), 0, "row 8 is 1x2000; at most 1024 pixels a side"),
        (None, 0, "row 8 has no image bytes"),
        (png(pixels(1, 5, 4, 3)[0]), None, "row 8 has no label"),
        (png(pixels(1, 5, 4, 3)[0]), -3, r"train.parquet, row 8 has label -3"),
    ],
)
def test_bad_row_is_named(
    parquet_folder: Path, content: bytes | None, label: int | None, message: str
) -> None:
    contents: list[bytes | None] = [png(image) for image in pixels(8, 5, 4, 3)]
    labels: list[int | None] = [0, 1] * 4
    write_parquet(parquet_folder / "train.parquet", [*contents, content], [*labels, label])

    with pytest.raises(DataInvalid, match=message):
        load_data(parquet_folder)


def test_corrupt_or_empty_or_missing_parquet_is_named(parquet_folder: Path) -> None:
    path = parquet_folder / "test.parquet"

    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataInvalid, match=r"test.parquet cannot be read as parquet"):
        load_data(parquet_folder)
    write_parquet(path, [], [])
    with pytest.raises(DataInvalid, match=r"test.parquet holds no images"):
        load_data(parquet_folder)
    path.unlink()
    with pytest.raises(DataInvalid, match=r"has 0 files called test\*.parquet"):
        load_data(parquet_folder)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pixels": [1, 2]}, "has the columns pixels; it needs 'image'"),
        ({"image": [b"a", b"b"], "label": [0, 1]}, "has image: binary and label: int64"),
        ({"image": [{"bytes": b"a"}], "label": ["cat"]}, "label: string; the image must be"),
    ],
)
def test_parquet_of_another_layout_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "other.parquet")

    with pytest.raises(DataInvalid, match=message):
        load_data(tmp_path / "other.parquet")


def test_cifar_rows_are_those_of_the_one_rule(shared_data: Path) -> None:
    options = DataOptions(normalisation=IMAGENET_NORMALISATION, max_train_images=100)

    data = load_data(shared_data / "cifar10-jpeg", options)

    assert provenances(data)[1:] == ["test.parquet rows 0-4,999", "test.parquet rows 5,000-9,999"]
    assert (data.input_shape, data.num_classes) == ((3, 32, 32), 10)


# --- image folder


def fill(folder: Path, names: tuple[str, ...], count: int) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(pixels(count, 5, 4, 3)):
            (folder / name / f"{number}.png").write_bytes(png(image))


def test_class_folders_are_numbered_by_name_and_split_by_chance(tmp_path: Path) -> None:
    fill(tmp_path, ("dog", "cat"), 5)
    (tmp_path / "cat" / "notes.txt").write_text("ignored")

    data = load_data(tmp_path)

    assert sizes(data) == [6, 2, 2]
    assert data.num_classes == 2
    assert torch.bincount(data.split("train").labels).tolist() == [3, 3]


def test_split_folders_are_kept_apart(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("cat", "dog"), 5)
    fill(tmp_path / "test", ("cat", "dog"), 4)

    assert sizes(load_data(tmp_path)) == [10, 4, 4]
    assert sizes(load_data(tmp_path, DataOptions(max_train_images=4))) == [4, 4, 4]
    assert load_data(tmp_path, DataOptions(max_train_images=4)).num_classes == 2
    fill(tmp_path / "search", ("cat", "dog"), 3)
    assert sizes(load_data(tmp_path)) == [10, 6, 8]


def test_bad_image_folder_is_refused_by_name(tmp_path: Path) -> None:
    fill(tmp_path, ("cat", "dog"), 5)
    (tmp_path / "dog" / "3.png").write_bytes(b"")
    with pytest.raises(DataInvalid, match=r"dog/3.png cannot be decoded"):
        load_data(tmp_path)

    fill(tmp_path / "train", ("cat", "dog"), 5)
    with pytest.raises(DataInvalid, match=r"there is no folder .*test"):
        load_data(tmp_path)

    fill(tmp_path / "test", ("bird",), 5)
    with pytest.raises(DataInvalid, match="bird is a class that train does not know"):
        load_data(tmp_path)


def test_class_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()

    with pytest.raises(DataInvalid, match="holds no images in class folders"):
        load_data(tmp_path)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, ("cat",), 10)

    with pytest.raises(DataInvalid, match="are of class 0; there must be at least two"):
        load_data(tmp_path)
