"""Reading files to upload and writing files that arrive, whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

from automl_compress.whole_files import unnamed_file

CHUNK_BYTES = 1 << 20


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def receive(target: Path, chunks: Iterator[bytes], expected: int) -> Path:
    """Write a file of so many bytes.

    Raises:
        OSError: the disk did not take it, or another number of bytes arrived; nothing is there.
    """
    with unnamed_file(target.parent) as unnamed:
        arrived = sum(unnamed.stream.write(chunk) for chunk in chunks)
        if arrived != expected:
            raise OSError(f"{arrived} of {expected} bytes arrived; try again")
        unnamed.keep(target)
    return target
