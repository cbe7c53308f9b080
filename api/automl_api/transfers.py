"""Reading files to upload and writing files that arrive, whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 20


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def write_whole(target: Path, chunks: Iterator[bytes], expected: int) -> Path:
    """Write a file of so many bytes.

    Raises:
        OSError: the disk did not take it, or another number of bytes arrived; nothing is there.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        if temporary.stat().st_size != expected:
            raise OSError(f"{temporary.stat().st_size} of {expected} bytes arrived; try again")
        temporary.chmod(0o644)
        return temporary.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
