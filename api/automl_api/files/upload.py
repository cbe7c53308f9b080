"""Receiving a file: hashed while it arrives, and stopped as soon as it is too large."""

import re
import threading
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass

from anyio import to_thread
from starlette.requests import ClientDisconnect

from automl_api.files.recognition import ALLOWED, Ends, recognise
from automl_api.keys.quotas import bytes_left, quota_exceeded
from automl_api.problem import Problem
from automl_api.service import Service
from automl_compress.store import FileRow, PartialFile
from automl_compress.store import files as file_rows
from automl_compress.store.files import NewFile

# Bytes that are stored again must not be deleted between their writing and their row.
STORING = threading.Lock()

_UNPRINTABLE = re.compile(r"[^\w.() +-]")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request says of the file that it brings.

    declared_bytes: 0 where it does not say; sha256: None where it does not.
    """

    name: str
    declared_bytes: int = 0
    sha256: str | None = None


async def receive(
    service: Service, chunks: AsyncIterable[bytes], sent: Sent
) -> tuple[FileRow, bool]:
    """Store an upload, or find the file that has the same bytes.

    Returns:
        The file's row, and whether it is new.

    Raises:
        Problem: too large, beyond the account's quota, damaged, cut short, empty, or of no
            format that this service takes.
        StorageFailed: the disk did not take it; nothing is stored.
    """
    left = await to_thread.run_sync(bytes_left, service)
    check = partial_size_check(service, left)
    check(sent.declared_bytes)
    ends = Ends()
    with service.files.partial() as partial:
        try:
            async for chunk in chunks:
                check(partial.size_bytes + len(chunk))
                ends.add(chunk)
                await to_thread.run_sync(partial.write, chunk)
        except ClientDisconnect as error:
            raise _cut_short() from error
        return await to_thread.run_sync(_keep, service, partial, ends, sent)


def partial_size_check(service: Service, left: int | None) -> Callable[[int], None]:
    """Return what refuses a size that is beyond the service's limit, or the account's quota."""
    limit = service.settings.max_upload_bytes

    def check(size_bytes: int) -> None:
        if size_bytes > limit:
            raise _too_large(limit)
        if left is not None and size_bytes > left:
            raise quota_exceeded(service)

    return check


def _keep(service: Service, partial: PartialFile, ends: Ends, sent: Sent) -> tuple[FileRow, bool]:
    name = sent.name
    if sent.sha256 is not None and sent.sha256 != partial.sha256:
        raise Problem(
            422,
            "digest-mismatch",
            f"what arrived has the SHA-256 {partial.sha256}, the request said {sent.sha256}; it "
            "was damaged on the way, or is another file: send it again",
        )
    found = recognise(ends)
    if found is None:
        what = "empty" if partial.size_bytes == 0 else "of another format, or cut short"
        raise Problem(
            415,
            "unsupported-format",
            f"the file {name!r} is {what}; give {ALLOWED}. Pickled files are never read: make a "
            "safetensors file of one with 'automl-compress convert'",
        )
    purpose = "model" if found in ("safetensors", "pt2") else "dataset"
    with STORING:
        return _store(service, partial, NewFile(purpose, plain_name(name), found))


def _store(service: Service, partial: PartialFile, new: NewFile) -> tuple[FileRow, bool]:
    with service.database.reading() as session:
        existing = file_rows.with_digest(session, new.purpose, partial.sha256)
    if existing is not None and service.files.path_of(existing.path).is_file():
        return existing, False
    if existing is None:  # other uploads of the account may have come in since this one began
        partial_size_check(service, bytes_left(service))(partial.size_bytes)
    written = partial.keep(f"files/{partial.sha256}.{new.format}")
    with service.database.session() as session:
        row = file_rows.add(session, new, written)
    return row, existing is None


def plain_name(name: str) -> str:
    """Return the last part of a file name, without signs that could mislead a reader."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNPRINTABLE.sub("_", last)[:200] or "upload"


def _cut_short() -> Problem:
    return Problem(400, "malformed", "the upload was cut short; nothing was stored: send it again")


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "too-large",
        f"the file is larger than the {limit:,} bytes that this service takes; set "
        "AUTOML_COMPRESS_MAX_UPLOAD_BYTES for more, or give fewer images",
        extensions={"limit_bytes": limit},
    )
