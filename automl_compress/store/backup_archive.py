"""The file of a backup: a tar archive of tables and files, with the digests of all at its end."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.core.json_field import JsonField

TABLES, FILES, DIGESTS = "tables.sqlite", "files/", "digests.json"  # names within the archive
CHUNK_BYTES = 1 << 20


class BackupWriter:
    """Writes an archive; without `close` it has no list of digests, and is no backup."""

    def __init__(self, stream: BinaryIO) -> None:
        """Write to an open file."""
        self._archive = tarfile.open(fileobj=stream, mode="w")  # noqa: SIM115 - closed by `close`
        self._digests: dict[str, str] = {}

    def add(self, name: str, path: Path) -> None:
        """Add a file; one that is not there any more is left out.

        Raises:
            OSError: it cannot be read, became shorter meanwhile, or the disk took no more.
        """
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            reader = _DigestingReader(stream)
            self._archive.addfile(_member(name, os.fstat(stream.fileno()).st_size), reader)
        self._digests[name] = reader.digest

    def close(self) -> None:
        """Add the list of digests, and the end of the archive."""
        content = json.dumps(self._digests).encode()
        self._archive.addfile(_member(DIGESTS, len(content)), io.BytesIO(content))
        self._archive.close()


class BackupArchive:
    """A backup that was read to its end and found whole.

    files: the digest of each file, `sha256:...`, by its path relative to the data directory.
    """

    def __init__(self, source: Path, archive: tarfile.TarFile) -> None:
        """Read all of it.

        Raises:
            InvalidInput: it is no backup, was cut short, or was damaged.
            StorageFailed: it cannot be read.
        """
        self._source, self._archive = source, archive
        with _read_errors(source):
            self._members = {member.name: member for member in archive}
        digests = self._digests()
        for name, digest in digests.items():
            if name not in self._members or not self._members[name].isreg():
                self._refuse(f"{name} is missing")
            if digest_of(self._chunks(name)) != digest:
                self._refuse(f"{name} has other bytes than were stored")
        self.files: Mapping[str, str] = {
            name.removeprefix(FILES): digest
            for name, digest in digests.items()
            if name.startswith(FILES)
        }

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of one of `files`.

        Raises:
            StorageFailed: the archive cannot be read.
        """
        return self._chunks(f"{FILES}{path}")

    def extract_tables(self, target: Path) -> None:
        """Write the SQLite file of the tables.

        Raises:
            StorageFailed: the archive cannot be read, or the disk took no more.
        """
        try:
            with target.open("wb") as file:
                file.writelines(self._chunks(TABLES))
        except StorageFailed:
            raise
        except OSError as error:
            raise StorageFailed(
                f"{target} could not be written ({error.strerror or error}); make room there, or "
                "set TMPDIR"
            ) from error

    def _digests(self) -> dict[str, str]:
        if DIGESTS not in self._members or not self._members[DIGESTS].isreg():
            self._refuse(f"no {DIGESTS} is at its end, so it is another archive, or cut short")
        content = b"".join(self._chunks(DIGESTS))
        try:
            told = JsonField(json.loads(content), error=InvalidInput)
            digests = {name: told.get(name).sha256() for name in told.object()}
        except ValueError as error:
            self._refuse(f"its {DIGESTS} cannot be read: {error}")
        if TABLES not in digests:
            self._refuse(f"it holds no {TABLES}")
        return digests

    def _chunks(self, name: str) -> Iterator[bytes]:
        with _read_errors(self._source):
            stream = self._archive.extractfile(self._members[name])
            assert stream is not None  # it is a file
            with stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk

    def _refuse(self, reason: str) -> NoReturn:
        raise _no_backup(self._source, reason)


@contextmanager
def opened_backup(source: Path) -> Generator[BackupArchive]:
    """Open a backup, once it was found whole.

    Raises:
        InvalidInput: it is no backup, was cut short, or was damaged.
        StorageFailed: it cannot be read.
    """
    with _read_errors(source):
        archive = tarfile.open(source, "r:")  # noqa: SIM115 - closed below
    with archive:
        yield BackupArchive(source, archive)


def digest_of(chunks: Iterator[bytes]) -> str:
    """Return the digest of bytes as it stands in a backup's list."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


@contextmanager
def _read_errors(source: Path) -> Generator[None]:
    try:
        yield
    except tarfile.TarError as error:
        raise _no_backup(source, str(error)) from error
    except StorageFailed:
        raise
    except OSError as error:
        raise StorageFailed(
            f"the backup {source} cannot be read ({error.strerror or error}); nothing was changed"
        ) from error


def _no_backup(source: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{source} is no backup, or no whole one ({reason}); nothing was changed. Give a file that "
        "`db backup` wrote"
    )


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o600
    return member


class _DigestingReader:
    """Reads a file, and knows the digest of what was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._digest.update(chunk)
        return chunk

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"
