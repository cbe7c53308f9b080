"""Bytes under the data directory: a file is there as a whole, or not at all."""

import hashlib
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from automl_compress.core.errors import InvalidInput, NotFound, StorageFailed
from automl_compress.whole_files import PRIVATE, UnnamedFile, unnamed_file

PARTIAL_DIRECTORY = "partial"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is on the disk; `path` is relative to the data directory."""

    path: str
    size_bytes: int
    sha256: str


class PartialFile:
    """A file of the data directory that is being written; it becomes visible by `keep`."""

    def __init__(self, directory: "ArtifactFiles", unnamed: UnnamedFile) -> None:
        """Write to a file that is open and has no name yet."""
        self._directory, self._unnamed = directory, unnamed
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Digest of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            StorageFailed: the disk is full or cannot be written.
        """
        with _translated(self._unnamed.path):
            self._unnamed.stream.write(chunk)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    def keep(self, path: str) -> WrittenFile:
        """Make what was written durable under this relative path, replacing what is there.

        Raises:
            StorageFailed: the disk is full or cannot be written; nothing is there then.
            InvalidInput: the path leads out of the data directory.
        """
        target = self._directory.path_of(path)
        with _translated(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._unnamed.keep(target)
        return WrittenFile(path, self.size_bytes, self.sha256)


class ArtifactFiles:
    """Files under one directory, named by relative paths with forward slashes."""

    def __init__(self, directory: Path) -> None:
        """Use a directory, which is made when the first file is written."""
        self.directory = directory

    @contextmanager
    def partial(self) -> Generator[PartialFile]:
        """Open a file to write; without `keep` it is gone at the end of the block.

        Raises:
            StorageFailed: the directory cannot be written.
        """
        place = self.directory / PARTIAL_DIRECTORY
        with ExitStack() as open_files:
            with _translated(place):
                place.mkdir(parents=True, exist_ok=True)
                unnamed = open_files.enter_context(unnamed_file(place, PRIVATE))
            yield PartialFile(self, unnamed)

    def write(self, path: str, chunks: Iterable[bytes]) -> WrittenFile:
        """Write a whole file.

        Raises:
            StorageFailed: the disk is full or cannot be written; nothing is there then.
            InvalidInput: the path leads out of the data directory.
        """
        self.path_of(path)
        with self.partial() as partial:
            for chunk in chunks:
                partial.write(chunk)
            return partial.keep(path)

    def path_of(self, path: str) -> Path:
        """Return where a relative path lies on the disk.

        Raises:
            InvalidInput: the path is absolute, or leads out of the data directory.
        """
        parts = PurePosixPath(path)
        if parts.is_absolute() or not parts.parts or ".." in parts.parts or "\\" in path:
            raise InvalidInput(
                f"{path!r} is no path within the data directory; give a relative one without '..'"
            )
        return self.directory.joinpath(*parts.parts)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            NotFound: there is no file.
        """
        try:
            return self.path_of(path).open("rb")
        except OSError as error:
            raise NotFound(
                f"the file {path!r} is not in the data directory ({error.strerror}); "
                "it was removed by hand, or another data directory is in use"
            ) from error

    def remove(self, path: str) -> None:
        """Delete a file; harmless where there is none.

        Raises:
            StorageFailed: the directory cannot be written.
        """
        target = self.path_of(path)
        with _translated(target):
            target.unlink(missing_ok=True)

    def clear_partial(self) -> None:
        """Remove what killed processes left half written; only while nobody writes."""
        for leftover in (self.directory / PARTIAL_DIRECTORY).glob("*"):
            leftover.unlink(missing_ok=True)


@contextmanager
def _translated(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{path} could not be written ({error.strerror}); nothing was stored. "
            "Make room or choose another data directory, then try again"
        ) from error
