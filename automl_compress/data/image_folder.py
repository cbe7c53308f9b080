"""Folders of image files, one sub-folder a class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from automl_compress.core.errors import DataInvalid
from automl_compress.data.datasets import ImageData
from automl_compress.data.decoding import ImageDecoder, stack
from automl_compress.data.image_names import SUFFIXES, is_image_name
from automl_compress.data.rows import DataOptions, Rows, assemble, by_chance, stratified_order


class ImagePath(Protocol):
    """A folder or a file, on a disk (`pathlib.Path`) or in an archive; `str` is its place."""

    @property
    def name(self) -> str:
        """The last part of its place."""
        ...

    def iterdir(self) -> Iterator[Any]:
        """Yield what is in a folder."""
        ...

    def is_dir(self) -> bool:
        """Tell whether it is a folder."""
        ...

    def read_bytes(self) -> bytes:
        """Read a file."""
        ...


def load_image_folder(folder: ImagePath, options: DataOptions | None = None) -> ImageData:
    """Load class sub-folders; classes are numbered by the order of their names.

    With sub-folders `train` and `test` (and `search`) the class folders lie in those; without
    `search`, the test images are halved by a seeded permutation. Otherwise the class folders are
    split by one into 60 % train, 20 % search, 20 % test.

    Raises:
        DataInvalid: there are no images, one can't be decoded, or sizes differ.
    """
    options = (options or DataOptions()).named(folder.name)
    decoder = ImageDecoder()
    splits = {each.name: each for each in _sub_folders(folder)}
    if "train" not in splits:
        rows = _read(folder, sorted(splits), decoder, None)
        return assemble(*by_chance(rows, options), options)
    class_names = [each.name for each in _sub_folders(splits["train"])]
    train = _read(splits["train"], class_names, decoder, options)
    if "test" not in splits:
        raise DataInvalid(
            f"there is no folder {folder}/test; put the class folders of that split there"
        )
    test = _read(splits["test"], class_names, decoder, None)
    if "search" in splits:
        search = _read(splits["search"], class_names, decoder, None)
    else:
        search, test = _halved(test, options.seed)
    return assemble(train, search, test, options)


def has_class_folders(folder: Path) -> bool:
    """Tell whether `folder` has sub-folders at all."""
    return bool(_sub_folders(folder))


def _sub_folders(folder: ImagePath) -> list[ImagePath]:
    found = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(found, key=lambda path: path.name)


def _halved(test: Rows, seed: int) -> tuple[Rows, Rows]:
    order = stratified_order(test.labels.numpy(), seed)
    middle = len(order) // 2
    how = f"{test.origin}, stratified permutation of seed {seed}, positions"
    return (
        test.take(order[:middle], f"{how} 0-{middle - 1:,}"),
        test.take(order[middle:], f"{how} {middle:,}-{len(order) - 1:,}"),
    )


def _read(
    folder: ImagePath,
    class_names: Sequence[str],
    decoder: ImageDecoder,
    options: DataOptions | None,
) -> Rows:
    paths, labels = _list(folder, class_names)
    provenance = f"{folder.name}, all {len(paths):,} images"
    if options is not None and options.max_train_images is not None:
        # Files lie sorted by class, so the first ones alone would be of one class.
        order = stratified_order(torch.tensor(labels).numpy(), options.seed)
        order = order[: options.max_train_images]
        paths, labels = [paths[index] for index in order], [labels[index] for index in order]
        provenance = (
            f"{folder.name}, stratified permutation of seed {options.seed}, "
            f"positions 0-{len(paths) - 1:,}"
        )
    places = [str(path).removeprefix(f"{folder}/") for path in paths]
    images = stack((decoder.decode(path.read_bytes(), str(path)) for path in paths), str(folder))
    return Rows(images, torch.tensor(labels, dtype=torch.int64), folder.name, places, provenance)


def _list(folder: ImagePath, class_names: Sequence[str]) -> tuple[list[ImagePath], list[int]]:
    paths: list[ImagePath] = []
    labels: list[int] = []
    for class_folder in _sub_folders(folder):
        if class_folder.name not in class_names:
            raise DataInvalid(
                f"{class_folder} is a class that train does not know; its classes are: "
                f"{', '.join(class_names)}"
            )
        found = sorted(
            (path for path in class_folder.iterdir() if is_image_name(path.name)),
            key=lambda path: path.name,
        )
        paths += found
        labels += [class_names.index(class_folder.name)] * len(found)
    if not paths:
        raise DataInvalid(
            f"{folder} holds no images in class folders; give files that end in one of: "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return paths, labels
