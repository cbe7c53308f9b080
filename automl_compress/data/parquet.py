"""Parquet files in the image layout of Hugging Face: `image: {bytes, path}`, `label`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from automl_compress.core.errors import DataInvalid
from automl_compress.data.datasets import ImageData
from automl_compress.data.decoding import ImageDecoder, stack
from automl_compress.data.optional import require
from automl_compress.data.rows import DataOptions, Rows, assemble, by_chance, halves

_ROWS_AT_ONCE = 1000
_IMAGE_COLUMNS = ("image", "img")


def load_parquet_folder(folder: Path, options: DataOptions | None = None) -> ImageData:
    """Load a folder of a train and a test file.

    Train is the train file, search the first half of the test file, test the second half.

    Raises:
        DataInvalid: a file is missing or corrupt, or holds an image or label that can't be used.
    """
    options = (options or DataOptions()).named(folder.name)
    decoder = ImageDecoder()
    train = _read(_find(folder, "train"), decoder, options.max_train_images)
    search, test = halves(_read(_find(folder, "test"), decoder, None))
    return assemble(train, search, test, options)


def load_parquet_file(path: Path, options: DataOptions | None = None) -> ImageData:
    """Load a single file, split by a seeded permutation into 60 % train, 20 % search, 20 % test.

    Raises:
        DataInvalid: the file is corrupt, or holds an image or label that can't be used.
    """
    options = (options or DataOptions()).named(path.stem)
    return assemble(*by_chance(_read(path, ImageDecoder(), None), options), options)


def has_parquet_files(folder: Path) -> bool:
    """Tell whether `folder` looks like a data set of parquet files."""
    return any(folder.glob("train*.parquet"))


def _find(folder: Path, split: str) -> Path:
    found = sorted(folder.glob(f"{split}*.parquet"))
    if len(found) != 1:
        raise DataInvalid(
            f"{folder} has {len(found)} files called {split}*.parquet; there must be exactly one, "
            f"{split}.parquet for instance"
        )
    return found[0]


def _read(path: Path, decoder: ImageDecoder, limit: int | None) -> Rows:
    pyarrow = require("pyarrow", "pyarrow", "reading parquet files")
    parquet = require("pyarrow.parquet", "pyarrow", "reading parquet files")
    images: list[np.ndarray] = []
    labels: list[int] = []
    try:
        with parquet.ParquetFile(path) as file:
            image_column = _check_columns(pyarrow, file.schema_arrow, path)
            columns = [image_column, "label"]
            # In chunks, so that compressed and decoded images are never all in memory at once.
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                _decode_batch(batch, image_column, path, decoder, images, labels)
                if limit is not None and len(labels) >= limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise DataInvalid(
            f"{path} cannot be read as parquet ({error}); give an intact parquet file"
        ) from error
    rows = Rows(
        stack(images, str(path)),
        torch.tensor(labels, dtype=torch.int64),
        path.name,
        range(len(labels)),
        path.name,
    )
    return rows.slice(0, len(labels) if limit is None else min(limit, len(labels)))


def _check_columns(pyarrow: Any, schema: Any, path: Path) -> str:
    image_column = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
    if image_column is None or "label" not in schema.names:
        raise DataInvalid(
            f"{path} has the columns {', '.join(schema.names)}; it needs 'image' (a struct of "
            "bytes and path) and 'label' (an integer)"
        )
    image_type, label_type = schema.field(image_column).type, schema.field("label").type
    is_struct = pyarrow.types.is_struct(image_type) and image_type.get_field_index("bytes") >= 0
    if not is_struct or not pyarrow.types.is_integer(label_type):
        raise DataInvalid(
            f"{path} has {image_column}: {image_type} and label: {label_type}; the image must be a "
            "struct with the field 'bytes' and the label an integer"
        )
    return image_column


def _decode_batch(
    batch: Any,
    image_column: str,
    path: Path,
    decoder: ImageDecoder,
    images: list[np.ndarray],
    labels: list[int],
) -> None:
    contents = batch.column(image_column).field("bytes").to_pylist()
    for content, label in zip(contents, batch.column("label").to_pylist(), strict=True):
        where = f"{path.name}, row {len(labels)}"
        if content is None or label is None:
            missing = "image bytes" if content is None else "label"
            raise DataInvalid(f"{where} has no {missing}; every row needs both inside the file")
        images.append(decoder.decode(content, where))
        labels.append(label)
