"""What a loader read, before it is checked and becomes `ImageData`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from automl_compress.core.errors import DataInvalid, InvalidInput
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData, Normalisation, Split

_MOST_CLASSES = 100_000
_TRAIN_SHARE, _SEARCH_SHARE = 0.6, 0.2


@dataclass(frozen=True)
class DataOptions:
    """What the caller knows about the data; None leaves it to the loader.

    Attributes:
        name: what figures call the data; None takes the name of the file or folder.
        normalisation: None measures it on the train split.
        augmentation: None for what the data declare, which is nothing for unknown data.
        num_classes: None for the highest label plus one.
        max_train_images: reads only the first of the train split, which saves decoding.
        seed: of the permutation, where a loader has to split one file by chance.
    """

    name: str | None = None
    normalisation: Normalisation | None = None
    augmentation: Augmentation | None = None
    num_classes: int | None = None
    max_train_images: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for a value out of range."""
        if self.num_classes is not None and not 2 <= self.num_classes <= _MOST_CLASSES:
            raise InvalidInput(
                f"num_classes is {self.num_classes}; give a number from 2 to {_MOST_CLASSES:,}"
            )
        if self.max_train_images is not None and self.max_train_images < 2:
            raise InvalidInput(f"max_train_images is {self.max_train_images}; give 2 or more")

    def named(self, name: str, augmentation: Augmentation | None = None) -> "DataOptions":
        """Fill in what the caller left open."""
        return replace(
            self,
            name=self.name or name,
            augmentation=self.augmentation or augmentation or Augmentation(),
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Images and labels with the place each came from.

    Attributes:
        images: uint8 (N, C, H, W), or signals (N, C, L).
        labels: int64 (N,), not yet checked.
        origin: the file, or the folder.
        places: N row numbers in that file, or N file names in that folder.
        provenance: the same in words, for figures.
    """

    images: Tensor
    labels: Tensor
    origin: str
    places: Sequence[object]
    provenance: str

    def where(self, index: int) -> str:
        """Name the place of one image."""
        place = self.places[index]
        return (
            f"{self.origin}, {place}" if isinstance(place, str) else f"{self.origin}, row {place}"
        )

    def slice(self, start: int, stop: int) -> "Rows":
        """Take rows `start` to `stop - 1` of a file, in its order."""
        return replace(
            self,
            images=self.images[start:stop],
            labels=self.labels[start:stop],
            places=self.places[start:stop],
            provenance=f"{self.origin} rows {start:,}-{stop - 1:,}",
        )

    def take(self, indices: np.ndarray, provenance: str) -> "Rows":
        """Take the rows of these `indices`, in their order."""
        chosen = torch.from_numpy(indices)
        places = [self.places[index] for index in indices]
        return Rows(self.images[chosen], self.labels[chosen], self.origin, places, provenance)


def halves(rows: Rows) -> tuple[Rows, Rows]:
    """Split a test file into search (first half) and test (the rest).

    Raises:
        DataInvalid: there are fewer than two rows.
    """
    if len(rows.labels) < 2:
        raise DataInvalid(
            f"{rows.origin} holds {len(rows.labels)} images; it is split into search and test, so "
            "it needs 2 or more"
        )
    middle = len(rows.labels) // 2
    return rows.slice(0, middle), rows.slice(middle, len(rows.labels))


def by_chance(
    rows: Rows, options: DataOptions, sizes: tuple[int, int] | None = None
) -> tuple[Rows, Rows, Rows]:
    """Split into train, search and test by a seeded permutation that keeps classes balanced.

    Args:
        rows: all images of the data set.
        options: its seed decides, its `max_train_images` shortens train.
        sizes: of train and search; None takes 60 % and 20 %. The rest is test.

    Raises:
        DataInvalid: a split would be empty.
    """
    total = len(rows.labels)
    train, search = sizes or (int(_TRAIN_SHARE * total), int(_SEARCH_SHARE * total))
    if min(train, search, total - train - search) < 1:
        raise DataInvalid(
            f"{rows.origin} holds {total} images, too few for train, search and test; give 5 or "
            "more"
        )
    order = stratified_order(rows.labels.numpy(), options.seed)
    parts = np.split(order, [train, train + search])
    parts[0] = parts[0][: options.max_train_images]
    how = f"{rows.origin}, stratified permutation of seed {options.seed}, positions"
    starts = (0, train, train + search)
    first, second, third = (
        rows.take(part, f"{how} {start:,}-{start + len(part) - 1:,}")
        for part, start in zip(parts, starts, strict=True)
    )
    return first, second, third


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Permute so that every stretch holds the classes in about the shares of the whole.

    Args:
        labels: (N,) integers.
        seed: of the permutation.

    Returns:
        int64 (N,), a permutation of 0 to N - 1.
    """
    rng = np.random.default_rng(seed)
    keys = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        # The k-th of n members falls somewhere into the k-th n-th of the order.
        keys[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(keys, kind="stable")


def assemble(train: Rows, search: Rows, test: Rows, options: DataOptions) -> ImageData:
    """Check what was read and make `ImageData` of it.

    Raises:
        DataInvalid: a split is empty, image shapes differ, a label is out of range, or the
            train split knows one class only.
    """
    parts = {"train": train, "search": search, "test": test}
    for part in parts.values():
        _check_images(part, train)
    num_classes = options.num_classes or 1 + max(int(part.labels.max()) for part in parts.values())
    for part in parts.values():
        _check_labels(part, min(num_classes, _MOST_CLASSES))
    if len(torch.unique(train.labels)) < 2:
        raise DataInvalid(
            f"all {len(train.labels):,} training images of {train.origin} are of class "
            f"{int(train.labels[0])}; there must be at least two classes to tell apart"
        )
    normalisation = options.normalisation or measure_normalisation(train.images)
    splits = {
        name: Split(name, part.images, part.labels, normalisation, part.provenance)
        for name, part in parts.items()
    }
    shape = tuple(train.images.shape[1:])
    augmentation = options.augmentation or Augmentation()
    if len(shape) == 2 and augmentation != Augmentation():
        raise DataInvalid(f"{train.origin} holds signals, which are not flipped or shifted")
    name = options.name or train.origin
    return ImageData(name, num_classes, shape, normalisation, augmentation, splits)


def measure_normalisation(images: Tensor) -> Normalisation:
    """Measure mean and standard deviation of each channel of uint8 (N, C, H, W) or (N, C, L)."""
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    others = 0, *range(2, images.dim())
    for chunk in images.split(1000):  # in parts: all at once would take eight times the memory
        pixels = chunk.double() / 255
        total += pixels.sum(others)
        squares += pixels.square().sum(others)
    count = images.numel() / images.shape[1]
    mean = total / count
    # Images of one colour have no deviation; half a grey level keeps the division finite.
    std = (squares / count - mean.square()).clamp(min=(0.5 / 255) ** 2).sqrt()
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))


def _check_images(part: Rows, train: Rows) -> None:
    if len(part.labels) == 0 or part.images.numel() == 0:
        raise DataInvalid(f"{part.origin} holds no images; give at least one for each split")
    if part.images.shape[1:] != train.images.shape[1:]:
        raise DataInvalid(
            f"the images of {part.origin} are {tuple(part.images.shape[1:])} (channels, height, "
            f"width), those of {train.origin} {tuple(train.images.shape[1:])}; all must be the same"
        )


def _check_labels(part: Rows, num_classes: int) -> None:
    wrong = torch.nonzero((part.labels < 0) | (part.labels >= num_classes)).flatten()
    if len(wrong):
        first = int(wrong[0])
        raise DataInvalid(
            f"{part.where(first)} has label {int(part.labels[first])}; labels must be 0 to "
            f"{num_classes - 1:,} ({len(wrong):,} rows are wrong)"
        )
