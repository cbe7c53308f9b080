"""Zip archives of image files, one folder a class; read where they lie, never unpacked to a disk.

Everything that the archive says of itself is checked before the first image is read.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from automl_compress.core.errors import DataInvalid
from automl_compress.data.datasets import SPLIT_NAMES, ImageData
from automl_compress.data.image_folder import load_image_folder
from automl_compress.data.image_names import SUFFIXES, is_image_name
from automl_compress.data.rows import DataOptions

_MOST_MEMBERS = 65_534  # more take the records of ZIP64
_LARGEST_DIRECTORY = 16 * 1024**2  # bytes of the list of members
_LARGEST_FILE = 16 * 1024**2  # 1024 x 1024 pixels take 3 MB, and as text 12 MB
_LONGEST_NAME = 512
_DEEPEST = 8  # folders, those around the data included
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# APPNOTE.TXT of PKWARE, 4.3.15 and 4.3.16: the last records of an archive.
_LOCATOR_BYTES, _END = 20, struct.Struct("<4s4H2LH")
# What a damaged archive makes zipfile raise, beside errors of the disk.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, ValueError, NotImplementedError, OverflowError),
)


def load_image_zip(path: Path, options: DataOptions | None = None) -> ImageData:
    """Load an archive of `class/file` or `split/class/file`, split as `load_image_folder` does.

    These may lie in a folder of their own, as they do where that folder was archived. Hidden
    files are left out, and what systems add (`__MACOSX`, `Thumbs.db`).

    Raises:
        DataInvalid: no such archive, damaged, encrypted, with members that no honest archive of
            images has, or with images that `load_image_folder` refuses.
    """
    try:
        with path.open("rb") as file:
            _check_end(file, path)
            with zipfile.ZipFile(file) as archive:
                root = _read_tree(archive, path)
                return load_image_folder(root, (options or DataOptions()).named(path.stem))
    except DataInvalid:
        raise
    except (*_DAMAGE, OSError) as error:
        raise DataInvalid(
            f"{path.name} cannot be read as a zip archive ({error}); make it again"
        ) from error


class ArchivePath:
    """A folder or a file of an archive, as far as images need what `pathlib.Path` has."""

    def __init__(
        self,
        place: str,
        archive: zipfile.ZipFile | None = None,
        member: zipfile.ZipInfo | None = None,
    ) -> None:
        """Name its `place` for messages; a folder has no member."""
        self.name = place.rpartition("/")[2]
        self.children: dict[str, ArchivePath] = {}
        self.member = member
        self._place, self._archive = place, archive

    def __str__(self) -> str:
        return self._place

    def iterdir(self) -> Iterator["ArchivePath"]:
        """Yield what is in a folder."""
        yield from self.children.values()

    def is_dir(self) -> bool:
        """Tell whether it is a folder that exists."""
        return self.member is None

    def read_bytes(self) -> bytes:
        """Read a file, as many bytes as it is said to have."""
        if self._archive is None or self.member is None:
            raise DataInvalid(f"{self} is a folder where a file should be; make the archive again")
        with self._archive.open(self.member) as file:
            return file.read(self.member.file_size)  # never more, whatever it inflates to


def _check_end(file: BinaryIO, path: Path) -> None:
    """Bound the list of members before zipfile makes an object of each."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _LOCATOR_BYTES))
    tail = file.read()
    if not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise DataInvalid(f"{path.name} is no zip archive, or cut short; make it again")
    _, _, _, _, entries, length, start, _ = _END.unpack(tail[-_END.size :])
    if (
        entries > _MOST_MEMBERS
        or length > _LARGEST_DIRECTORY
        or start + length + _END.size != size
        or tail.startswith(b"PK\x06\x07")  # that of ZIP64, which zipfile would rather believe
    ):
        raise DataInvalid(
            f"{path.name} lists {entries:,} members in {length:,} bytes; at most "
            f"{_MOST_MEMBERS:,} in {_LARGEST_DIRECTORY:,} are read, and no ZIP64: give fewer "
            "images, or a parquet file"
        )


def _read_tree(archive: zipfile.ZipFile, path: Path) -> ArchivePath:
    """Check all members and return the folder of the class folders, or of the splits."""
    root = ArchivePath(path.name)
    names: set[str] = set()
    for member in archive.infolist():
        _check_member(member, path.name)
        if member.filename in names:
            raise _refused(path.name, member.filename, "is there twice")
        names.add(member.filename)
        parts = member.filename.rstrip("/").split("/")
        if not any(_is_left_out(part) for part in parts):
            _put(root, parts, archive, member)
    while len(root.children) == 1 and "train" not in root.children:
        (only,) = root.children.values()
        if not any(each.is_dir() for each in only.iterdir()):
            break
        root = only
    _check_layout(root, path.name)
    return root


def _is_left_out(part: str) -> bool:
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _put(
    root: ArchivePath, parts: list[str], archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> None:
    folder = root
    for part in parts if member.is_dir() else parts[:-1]:
        folder = folder.children.setdefault(part, ArchivePath(f"{folder}/{part}"))
        if folder.member is not None:
            raise _refused(root.name, member.filename, f"lies in {part!r}, which is a file")
    if not member.is_dir():
        if parts[-1] in folder.children:
            raise _refused(root.name, member.filename, "is a folder too")
        folder.children[parts[-1]] = ArchivePath(f"{folder}/{parts[-1]}", archive, member)


def _check_member(member: zipfile.ZipInfo, origin: str) -> None:
    name = member.filename
    parts = name.removesuffix("/").split("/")
    is_plain = name.isprintable() and "\\" not in name and name == member.orig_filename
    if (
        not is_plain
        or any(part in ("", ".", "..") for part in parts)
        or ":" in parts[0]
        or len(name) > _LONGEST_NAME
        or len(parts) > _DEEPEST
    ):
        raise _refused(origin, name, "has no plain relative name")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused(origin, name, "is a link or a device")
    if member.flag_bits & 1 or member.compress_type not in _COMPRESSIONS:
        raise _refused(origin, name, "is encrypted, or compressed by anything but deflate")
    if member.file_size > _LARGEST_FILE:
        raise _refused(
            origin, name, f"unpacks to {member.file_size:,} bytes, of at most {_LARGEST_FILE:,}"
        )


def _check_layout(root: ArchivePath, origin: str) -> None:
    """Refuse what is no image in a class folder, so that nothing is left out unsaid."""
    has_splits = "train" in root.children
    for name in sorted(root.children.keys() - set(SPLIT_NAMES)) if has_splits else ():
        raise _refused(origin, name, f"stands beside train, but is none of {SPLIT_NAMES}")
    folders = [root]
    for _ in range(2 if has_splits else 1):
        for file in (each for folder in folders for each in folder.iterdir() if not each.is_dir()):
            raise _refused(origin, str(file), "lies in no class folder")
        folders = [each for folder in folders for each in folder.iterdir()]
    for each in (each for folder in folders for each in folder.iterdir()):
        if each.is_dir() or not is_image_name(each.name):
            raise _refused(origin, str(each), "is in a class folder but no image by its name")


def _refused(origin: str, name: str, problem: str) -> DataInvalid:
    return DataInvalid(
        f"the member {name[:_LONGEST_NAME]!r} of {origin} {problem}; give images in class "
        f"folders, as class/file or train/class/file and test/class/file, whose names end in one "
        f"of: {', '.join(sorted(SUFFIXES))}"
    )
