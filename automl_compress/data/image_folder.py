"""Folders of image files, one sub-folder a class."""

from collections.abc import Sequence
from pathlib import Path

import torch

from automl_compress.core.errors import DataInvalid
from automl_compress.data.datasets import ImageData
from automl_compress.data.decoding import ImageDecoder, stack
from automl_compress.data.rows import DataOptions, Rows, assemble, by_chance, stratified_order

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm"))


def load_image_folder(folder: Path, options: DataOptions | None = None) -> ImageData:
    """Load class sub-folders; classes are numbered by the order of their names.

    With sub-folders `train` and `test` (and `search`) the class folders lie in those; without
    `search`, the test images are halved by a seeded permutation. Otherwise the class folders are
    split by one into 60 % train, 20 % search, 20 % test.

    Raises:
        DataInvalid: there are no images, one can't be decoded, or sizes differ.
    """
    options = (options or DataOptions()).named(folder.name)
    decoder = ImageDecoder()
    if not (folder / "train").is_dir():
        rows = _read(folder, _class_names(folder), decoder, None)
        return assemble(*by_chance(rows, options), options)
    class_names = _class_names(folder / "train")
    train = _read(folder / "train", class_names, decoder, options)
    test = _read(folder / "test", class_names, decoder, None)
    if (folder / "search").is_dir():
        search = _read(folder / "search", class_names, decoder, None)
    else:
        search, test = _halved(test, options.seed)
    return assemble(train, search, test, options)


def has_class_folders(folder: Path) -> bool:
    """Tell whether `folder` has sub-folders at all."""
    return bool(_sub_folders(folder))


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _class_names(folder: Path) -> list[str]:
    return [path.name for path in _sub_folders(folder)]


def _halved(test: Rows, seed: int) -> tuple[Rows, Rows]:
    order = stratified_order(test.labels.numpy(), seed)
    middle = len(order) // 2
    how = f"{test.origin}, stratified permutation of seed {seed}, positions"
    return (
        test.take(order[:middle], f"{how} 0-{middle - 1:,}"),
        test.take(order[middle:], f"{how} {middle:,}-{len(order) - 1:,}"),
    )


def _read(
    folder: Path, class_names: Sequence[str], decoder: ImageDecoder, options: DataOptions | None
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
    places = [str(path.relative_to(folder)) for path in paths]
    images = stack((decoder.decode(path.read_bytes(), str(path)) for path in paths), str(folder))
    return Rows(images, torch.tensor(labels, dtype=torch.int64), folder.name, places, provenance)


def _list(folder: Path, class_names: Sequence[str]) -> tuple[list[Path], list[int]]:
    if not folder.is_dir():
        raise DataInvalid(f"there is no folder {folder}; put the class folders of that split there")
    paths: list[Path] = []
    labels: list[int] = []
    for class_folder in _sub_folders(folder):
        if class_folder.name not in class_names:
            raise DataInvalid(
                f"{class_folder} is a class that train does not know; its classes are: "
                f"{', '.join(class_names)}"
            )
        files = (path for path in class_folder.iterdir() if path.suffix.lower() in _SUFFIXES)
        found = sorted(path for path in files if not path.name.startswith("."))
        paths += found
        labels += [class_names.index(class_folder.name)] * len(found)
    if not paths:
        raise DataInvalid(
            f"{folder} holds no images in class folders; give files that end in one of: "
            f"{', '.join(sorted(_SUFFIXES))}"
        )
    return paths, labels
