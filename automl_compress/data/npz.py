"""NumPy archives with the arrays `images`, or `signals`, and `labels`."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from automl_compress.core.errors import DataInvalid
from automl_compress.data.datasets import ImageData
from automl_compress.data.decoding import LARGEST_BYTES
from automl_compress.data.rows import DataOptions, Rows, assemble, by_chance

_CHANNELS = (1, 3)


def load_npz(path: Path, options: DataOptions | None = None) -> ImageData:
    """Load one archive, split by a seeded permutation into 60 % train, 20 % search, 20 % test.

    `images` is uint8 (N, H, W), (N, C, H, W) or (N, H, W, C), where C is 1 or 3; in its place may
    stand `signals`, of one dimension: uint8 (N, L) or (N, C, L). `labels` holds N integers.
    Pickled objects are never read.

    Raises:
        DataInvalid: the archive is corrupt or too large, or an array isn't as described.
    """
    options = (options or DataOptions()).named(path.stem)
    name, images, labels = _read(path)
    arrange = _channels_first if name == "images" else _signals
    rows = Rows(
        torch.from_numpy(arrange(_checked_images(name, images, path), path)),
        torch.from_numpy(_checked_labels(labels, len(images), path)),
        path.name,
        range(len(labels)),
        path.name,
    )
    return assemble(*by_chance(rows, options), options)


def _read(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Return what the samples are called, the samples, and their labels."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > LARGEST_BYTES:
            raise DataInvalid(
                f"{path} unpacks to {unpacked:,} bytes; at most {LARGEST_BYTES:,} are read, so "
                "give fewer images"
            )
        with np.load(path, allow_pickle=False) as archive:
            name = "signals" if "signals" in archive and "images" not in archive else "images"
            missing = [key for key in (name, "labels") if key not in archive]
            if missing:
                raise DataInvalid(
                    f"{path} has the arrays {', '.join(archive.files) or 'none'} but not "
                    f"{' and '.join(missing)}; save it with np.savez(path, images=..., labels=...)"
                )
            images, labels = archive[name], archive["labels"]
            if not (isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)):
                raise DataInvalid(  # numpy gives the bytes of a member that is no array
                    f"{name!r} or 'labels' of {path} is no array; save it with "
                    "np.savez(path, images=..., labels=...)"
                )
            return name, images, labels
    except DataInvalid:
        raise
    # A corrupt archive fails in zipfile, zlib, or numpy's header parser, each in its own way.
    except Exception as error:
        raise DataInvalid(
            f"{path} cannot be read ({type(error).__name__}: {error}); give an npz archive of "
            "plain arrays, without pickled objects"
        ) from error


def _checked_images(name: str, images: np.ndarray, path: Path) -> np.ndarray:
    if images.dtype != np.uint8:
        raise DataInvalid(
            f"{name!r} of {path} is {images.dtype}; it must be uint8, 0 to 255, so scale and "
            "convert it first"
        )
    if images.size == 0:
        raise DataInvalid(
            f"{name!r} of {path} has shape {images.shape}; there must be {name} in it"
        )
    return images


def _channels_first(images: np.ndarray, path: Path) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in _CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise DataInvalid(
        f"'images' of {path} has shape {images.shape}; it must be (N, H, W), (N, C, H, W) or "
        "(N, H, W, C) with 1 or 3 channels"
    )


def _signals(signals: np.ndarray, path: Path) -> np.ndarray:
    if signals.ndim not in (2, 3):
        raise DataInvalid(
            f"'signals' of {path} has shape {signals.shape}; it must be (N, L) or (N, C, L)"
        )
    return signals.reshape(len(signals), -1, signals.shape[-1])


def _checked_labels(labels: np.ndarray, count: int, path: Path) -> np.ndarray:
    if labels.dtype.kind == "f" and labels.ndim == 1 and not np.isfinite(labels).all():
        row = int(np.flatnonzero(~np.isfinite(labels))[0])
        raise DataInvalid(f"{path}, row {row} has label {labels[row]}; labels must be integers")
    if labels.dtype.kind not in "iu":
        raise DataInvalid(f"'labels' of {path} is {labels.dtype}; it must be of an integer type")
    if labels.shape != (count,):
        raise DataInvalid(
            f"'labels' of {path} has shape {labels.shape} but there are {count:,} images; give one "
            "label for each"
        )
    return labels.astype(np.int64)
