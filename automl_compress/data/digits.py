"""The handwritten digits that ship inside scikit-learn: 1,797 grey 8x8 images."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.data.optional import require
from automl_compress.data.rows import DataOptions, Rows, assemble, by_chance

_TRAIN_IMAGES, _SEARCH_IMAGES = 1000, 397  # which leaves 400 for test
# A digit on 8x8 pixels fills them: one pixel is as far as it can shift and stay readable.
_AUGMENTATION = Augmentation(flip=False, crop_padding=1)


def load_digits(options: DataOptions | None = None) -> ImageData:
    """Load 1,000 train, 397 search and 400 test images, split by a permutation of fixed seed.

    Raises:
        InvalidInput: scikit-learn isn't installed.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.
    """
    options = (options or DataOptions()).named("digits", _AUGMENTATION)
    pixels, labels = _pixels_and_labels()
    # 16 grey levels become the 256 that every other image has.
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    rows = Rows(
        torch.from_numpy(images),
        torch.from_numpy(labels.astype(np.int64)),
        "scikit-learn digits",
        range(len(labels)),
        "scikit-learn digits",
    )
    return assemble(*by_chance(rows, options, (_TRAIN_IMAGES, _SEARCH_IMAGES)), options)


def _pixels_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Read what scikit-learn's own `load_digits` returns, float64 (1797, 64) and int64 (1797,).

    The file is read without the package where it lies where all versions have had it: importing
    scikit-learn takes every process that loads the digits as long as importing torch.
    """
    found = find_spec("sklearn")
    for folder in () if found is None else found.submodule_search_locations or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            with gzip.open(path, "rt") as lines:
                rows = np.loadtxt(lines, delimiter=",")
            return rows[:, :-1], rows[:, -1].astype(np.int64)
    datasets = require("sklearn.datasets", "scikit-learn", "the data set digits")
    return datasets.load_digits(return_X_y=True)
