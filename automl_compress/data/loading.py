"""Any data set by its name or its path."""

from collections.abc import Callable
from pathlib import Path

from automl_compress.core.errors import DataInvalid, UnknownName
from automl_compress.data.datasets import ImageData
from automl_compress.data.digits import load_digits
from automl_compress.data.idx import has_idx_files, load_fashion_mnist, load_idx_folder
from automl_compress.data.image_folder import has_class_folders, load_image_folder
from automl_compress.data.image_zip import load_image_zip
from automl_compress.data.npz import load_npz
from automl_compress.data.parquet import (
    has_parquet_files,
    load_parquet_file,
    load_parquet_folder,
)
from automl_compress.data.rows import DataOptions

_BY_NAME: dict[str, Callable[[DataOptions], ImageData]] = {
    "digits": load_digits,
    "fashion-mnist": lambda options: load_fashion_mnist(options=options),
}


def data_names() -> tuple[str, ...]:
    """Name the data sets that need no path."""
    return tuple(sorted(_BY_NAME))


def load_data(source: str | Path, options: DataOptions | None = None) -> ImageData:
    """Load a data set.

    Args:
        source: one of `data_names()`; an `.npz` or `.parquet` file, or a `.zip` of class folders;
            or a folder of parquet files, of idx files, or of class sub-folders. A name always
            comes first: write `./digits` for a folder called that.
        options: what the loader can't know.

    Raises:
        UnknownName: `source` is neither a name nor a path that exists.
        DataInvalid: the path exists but holds nothing that can be loaded, or bad data.
        InvalidInput: a package that this kind of data needs isn't installed.
    """
    options = options or DataOptions()
    if isinstance(source, str) and source in _BY_NAME:
        return _BY_NAME[source](options)
    path = Path(source)
    if not path.exists():
        raise UnknownName("data set, file or folder", str(source), [*data_names(), "a path"])
    return _load_folder(path, options) if path.is_dir() else _load_file(path, options)


def _load_file(path: Path, options: DataOptions) -> ImageData:
    loaders = {".npz": load_npz, ".parquet": load_parquet_file, ".zip": load_image_zip}
    suffix = path.suffix.lower()
    if suffix not in loaders:
        raise DataInvalid(
            f"{path} ends in {suffix!r}; a data file must end in one of: {', '.join(loaders)}"
        )
    return loaders[suffix](path, options)


def _load_folder(path: Path, options: DataOptions) -> ImageData:
    if has_parquet_files(path):
        return load_parquet_folder(path, options)
    if has_idx_files(path):
        return load_idx_folder(path, options)
    if has_class_folders(path):
        return load_image_folder(path, options)
    raise DataInvalid(
        f"the folder {path} holds no data that can be loaded; it needs train.parquet and "
        "test.parquet, or four idx files, or a sub-folder of images for each class"
    )
