"""Receiving a file: hashed while it arrives, and stopped as soon as it is too large."""

import re
from collections.abc import AsyncIterable

from anyio import to_thread

from automl_api.files.recognition import ALLOWED, Ends, recognise
from automl_api.problem import Problem
from automl_api.service import Service
from automl_compress.store import FileRow, PartialFile
from automl_compress.store import files as file_rows
from automl_compress.store.files import NewFile

_UNPRINTABLE = re.compile(r"[^\w.() +-]")


async def receive(
    service: Service, chunks: AsyncIterable[bytes], name: str, declared_bytes: int | None
) -> tuple[FileRow, bool]:
    """Store an upload, or find the file that has the same bytes.

    Returns:
        The file's row, and whether it is new.

    Raises:
        Problem: too large, empty, or of no format that this service takes.
        StorageFailed: the disk did not take it; nothing is stored.
    """
    limit = service.settings.max_upload_bytes
    if declared_bytes is not None and declared_bytes > limit:
        raise _too_large(limit)
    ends = Ends()
    with service.files.partial() as partial:
        async for chunk in chunks:
            if partial.size_bytes + len(chunk) > limit:
                raise _too_large(limit)
            ends.add(chunk)
            await to_thread.run_sync(partial.write, chunk)
        return await to_thread.run_sync(_keep, service, partial, ends, name)


def _keep(service: Service, partial: PartialFile, ends: Ends, name: str) -> tuple[FileRow, bool]:
    found = recognise(ends)
    if found is None:
        what = "empty" if partial.size_bytes == 0 else "of another format, or cut short"
        raise Problem(
            415,
            "unsupported-format",
            f"the file {name!r} is {what}; give {ALLOWED}. Pickled files are never read: save "
            "the state dict with safetensors.torch.save_file",
        )
    purpose = "model" if found in ("safetensors", "pt2") else "dataset"
    with service.database.reading() as session:
        existing = file_rows.with_digest(session, purpose, partial.sha256)
    if existing is not None and service.files.path_of(existing.path).is_file():
        return existing, False
    written = partial.keep(f"files/{partial.sha256}.{found}")
    with service.database.session() as session:
        row = file_rows.add(session, NewFile(purpose, plain_name(name), found), written)
    return row, existing is None


def plain_name(name: str) -> str:
    """Return the last part of a file name, without signs that could mislead a reader."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNPRINTABLE.sub("_", last)[:200] or "upload"


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "too-large",
        f"the file is larger than the {limit:,} bytes that this service takes; set "
        "AUTOML_COMPRESS_MAX_UPLOAD_BYTES for more, or give fewer images",
        extensions={"limit_bytes": limit},
    )
