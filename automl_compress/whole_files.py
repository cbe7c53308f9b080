"""Files that are there as a whole or not at all, also after a kill, a full disk, a power cut."""

import os
import secrets
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

READABLE = 0o666  # before the process's mask, as for any new file
PRIVATE = 0o600


class UnnamedFile:
    """A file that is being written to `stream`; it becomes visible by `keep`."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        """Take over a stream that is open on the file `path`."""
        self.stream, self.path = stream, path

    def keep(self, target: Path) -> None:
        """Make what was written durable under this path, replacing what is there.

        Raises:
            OSError: the disk did not take it; `target` is as it was before.
        """
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        self.path.replace(target)
        _synchronise_folder(target.parent)


@contextmanager
def unnamed_file(folder: Path, mode: int = READABLE) -> Generator[UnnamedFile]:
    """Open a file to write; without `keep` it is gone at the end of the block.

    Args:
        folder: exists, on the file system of what the file is to become.
        mode: permissions, less those that the process's mask takes away.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / f".{secrets.token_hex(8)}.partial"
    stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
    try:
        yield UnnamedFile(stream, path)
    finally:
        with suppress(OSError):  # the disk refused the last bytes once already
            stream.close()
        path.unlink(missing_ok=True)


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file such that `path` always holds the old content or all of the new.

    Raises:
        OSError: the disk did not take it, or the folder does not exist; `path` is as before.
    """
    with unnamed_file(path.parent) as unnamed:
        for chunk in chunks:
            unnamed.stream.write(chunk)
        unnamed.keep(path)


def _synchronise_folder(folder: Path) -> None:
    # Without this a power cut may forget the rename, though not the content.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
