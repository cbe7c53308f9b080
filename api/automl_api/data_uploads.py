"""What a client uploads of a path with images, and what the service then calls it."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from automl_compress.core.errors import InvalidInput
from automl_compress.data.image_names import is_image_name

Upload = Callable[[Path], dict[str, Any]]
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip archive can tell; the same images give the same bytes


def uploaded_source(path: Path, upload: Upload) -> dict[str, Any]:
    """Upload images and return the source for `POST /v1/datasets`.

    Args:
        path: an npz, parquet or zip file; a folder with train.parquet and test.parquet; or one
            of class folders, of which an archive is made.
        upload: sends one file and returns what the service says of it.

    Raises:
        InvalidInput: the path holds something else.
    """
    if path.is_dir():
        return _folder(path, upload)
    uploaded = upload(path)
    kind, identity = uploaded["format"], uploaded["id"]
    if kind in ("npz", "zip"):
        return {"kind": kind, "file_id": identity}
    if kind == "parquet":
        return {"kind": kind, "train_file_id": identity}
    raise InvalidInput(f"{path} holds {kind}, not images; give an npz, parquet or zip file")


def _folder(folder: Path, upload: Upload) -> dict[str, Any]:
    if any(folder.glob("*.parquet")):
        train, test = (upload(_one_file(folder, split))["id"] for split in ("train", "test"))
        return {"kind": "parquet", "train_file_id": train, "test_file_id": test}
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place) / f"{folder.absolute().name}.zip"
        archive_folder(folder, archive)
        return {"kind": "zip", "file_id": upload(archive)["id"]}


def archive_folder(folder: Path, archive: Path) -> None:
    """Write the images in a folder's class folders into a zip archive.

    Raises:
        InvalidInput: there are none.
    """
    pattern = "*/*/*" if (folder / "train").is_dir() else "*/*"
    images = (each for each in sorted(folder.glob(pattern)) if is_image_name(each.name))
    files = [each for each in images if each.is_file()]
    if not files:
        raise InvalidInput(
            f"{folder} holds neither train.parquet and test.parquet nor images in class folders; "
            "give an npz, parquet or zip file, or a folder of these"
        )
    with zipfile.ZipFile(archive, "w") as written:
        for each in files:
            member = zipfile.ZipInfo(each.relative_to(folder).as_posix(), _EARLIEST)
            with each.open("rb") as source, written.open(member, "w") as target:
                shutil.copyfileobj(source, target)


def _one_file(folder: Path, split: str) -> Path:
    found = sorted(folder.glob(f"{split}*.parquet"))
    if len(found) != 1:
        raise InvalidInput(
            f"{folder} has {len(found)} files called {split}*.parquet; a folder to upload has "
            "exactly one train and one test file"
        )
    return found[0]
