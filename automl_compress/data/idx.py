"""The idx files of MNIST and of everything made in its image."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from automl_compress.core.errors import DataInvalid
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.data.rows import DataOptions, Rows, assemble, halves

TRAIN_IMAGES = "train-images-idx3-ubyte"
# Where Debian's package dataset-fashion-mnist puts the four files.
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_FASHION_AUGMENTATION = Augmentation(flip=True, crop_padding=2)
_UNSIGNED_BYTE = 0x08


def load_fashion_mnist(
    folder: Path = FASHION_MNIST_FOLDER, options: DataOptions | None = None
) -> ImageData:
    """Load Fashion-MNIST: 60,000 train, 5,000 search and 5,000 test images, grey 28x28.

    Raises:
        DataInvalid: the files aren't there, or are corrupt.

    Source: Xiao et al. 2017, "Fashion-MNIST".
    """
    if not folder.is_dir():
        raise DataInvalid(
            f"there is no folder {folder} with Fashion-MNIST; install Debian's "
            "dataset-fashion-mnist, or give the folder that holds the four idx files"
        )
    options = (options or DataOptions()).named("fashion-mnist", _FASHION_AUGMENTATION)
    return load_idx_folder(folder, options)


def load_idx_folder(folder: Path, options: DataOptions | None = None) -> ImageData:
    """Load the four files of an MNIST-like data set, plain or gzipped.

    Train is the train file, search the first half of the t10k file, test the second half.

    Raises:
        DataInvalid: a file is missing or corrupt, or its images and labels differ in number.
    """
    options = (options or DataOptions()).named(folder.name)
    train = _rows(folder, "train", options.max_train_images)
    search, test = halves(_rows(folder, "t10k", None))
    return assemble(train, search, test, options)


def has_idx_files(folder: Path) -> bool:
    """Tell whether `folder` looks like an MNIST-like data set."""
    return any((folder / name).is_file() for name in (TRAIN_IMAGES, f"{TRAIN_IMAGES}.gz"))


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read one idx file of unsigned bytes.

    Args:
        path: plain, or gzipped where it ends in `.gz`.
        dimensions: how many the array must have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape that the file's header gives.

    Raises:
        DataInvalid: the file can't be read, or isn't what its header says.

    Source: LeCun, Cortes, Burges, "The MNIST database", the file format at the page's end.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataInvalid(f"{path} cannot be read ({error}); give an intact idx file") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise DataInvalid(
            f"{path} begins with the bytes {content[:4].hex()}; an idx file of unsigned bytes in "
            f"{dimensions} dimensions begins with 000008{dimensions:02x}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise DataInvalid(
            f"{path} holds {len(content):,} bytes but its header {shape} promises {expected:,}; "
            "the file was cut short or altered, so fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _rows(folder: Path, prefix: str, limit: int | None) -> Rows:
    images_path = _find(folder, f"{prefix}-images-idx3-ubyte")
    images = read_idx(images_path, 3)
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), 1)
    if len(images) != len(labels):
        raise DataInvalid(
            f"{images_path} holds {len(images):,} images but its label file {len(labels):,} "
            "labels; the two files must belong together"
        )
    count = len(labels) if limit is None else min(limit, len(labels))
    rows = Rows(
        torch.from_numpy(images[:, None].copy()),
        torch.from_numpy(labels.astype(np.int64)),
        images_path.name,
        range(len(labels)),
        images_path.name,
    )
    return rows.slice(0, count)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataInvalid(f"{folder} has neither {name} nor {name}.gz; put the four idx files there")
