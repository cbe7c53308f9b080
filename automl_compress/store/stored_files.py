"""Whether the files that rows name are on the disk as the rows say."""

import hashlib
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.core.errors import AutomlCompressError
from automl_compress.store.artifact_files import ArtifactFiles
from automl_compress.store.tables import ArtifactRow, FileRow

CHUNK_BYTES = 1 << 20


def file_violations(session: Session, files: ArtifactFiles) -> Iterator[tuple[str, str]]:
    """Read every file that a row names; yield the row's id and what is wrong with its file."""
    for table in (FileRow, ArtifactRow):
        query = select(table.id, table.path, table.size_bytes, table.sha256).order_by(table.id)
        if table is ArtifactRow:
            query = query.where(ArtifactRow.removed_at.is_(None))
        for identity, path, size_bytes, sha256 in session.execute(query):
            detail = _difference(files, path, size_bytes, sha256)
            if detail is not None:
                yield identity, f"{path}: {detail}"


def _difference(files: ArtifactFiles, path: str, size_bytes: int, sha256: str) -> str | None:
    try:
        digest, size = hashlib.sha256(), 0
        with files.open(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except AutomlCompressError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size != size_bytes:
        return f"has {size:,} bytes, {size_bytes:,} were stored"
    if digest.hexdigest() != sha256:
        return "has other bytes than were stored"
    return None
