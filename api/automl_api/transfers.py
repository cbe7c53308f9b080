"""Reading files to upload and writing files that arrive, whole or not at all."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from automl_compress.whole_files import unnamed_file

CHUNK_BYTES = 1 << 20
PAUSES_SECONDS = (0.2, 1.0, 3.0, 10.0)  # between tries to go on with what arrived in part


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def sha256_of(path: Path) -> bytes:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def receive(
    target: Path, fetch: Callable[[int], Iterator[bytes]], expected: int, sha256: str
) -> Path:
    """Write a file of so many bytes and this digest.

    Args:
        target: where it is written.
        fetch: yields the bytes from a place on; ConnectionError where it is cut off.
        expected: how many bytes there are.
        sha256: their digest, in hexadecimal.

    Raises:
        OSError: the disk did not take it, or other bytes arrived; nothing is there.
    """
    digest, arrived = hashlib.sha256(), 0
    with unnamed_file(target.parent) as unnamed:
        for pause in (*PAUSES_SECONDS, None):
            try:
                for chunk in fetch(arrived):
                    arrived += unnamed.stream.write(chunk)
                    digest.update(chunk)
                break
            except ConnectionError:
                if pause is None:
                    raise
                time.sleep(pause)
        if arrived != expected or digest.hexdigest() != sha256:
            raise OSError(f"{arrived} of {expected} bytes arrived, or others; try again")
        unnamed.keep(target)
    return target
