"""Uploaded files."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store.accounts import account_of
from automl_compress.store.artifact_files import WrittenFile
from automl_compress.store.ids import new_id
from automl_compress.store.paging import Page, page_of
from automl_compress.store.tables import FileRow


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is known of an uploaded file before it is stored."""

    purpose: str  # model or dataset
    name: str
    format: str  # safetensors, npz, parquet ...


def add(session: Session, new: NewFile, written: WrittenFile) -> FileRow:
    """Store a file's row; an account's same bytes for the same purpose give the same row."""
    existing = with_digest(session, new.purpose, written.sha256)
    if existing is not None:
        return existing
    row = FileRow(
        id=new_id("fil"),
        purpose=new.purpose,
        name=new.name,
        format=new.format,
        size_bytes=written.size_bytes,
        sha256=written.sha256,
        path=written.path,
    )
    session.add(row)
    session.flush()
    return row


def with_digest(session: Session, purpose: str, sha256: str) -> FileRow | None:
    """Return the account's file of these bytes, where there is one."""
    query = select(FileRow).where(
        FileRow.account == account_of(session).name,
        FileRow.purpose == purpose,
        FileRow.sha256 == sha256,
    )
    return session.scalars(query).one_or_none()


def get(session: Session, file_id: str) -> FileRow:
    """Return a file's row.

    Raises:
        NotFound: no file has this id.
    """
    row = session.get(FileRow, file_id)
    if row is None:
        raise NotFound(f"no file has the id {file_id!r}; upload it with POST /v1/files")
    return row


def page(
    session: Session,
    *,
    after: str | None = None,
    limit: int = 50,
    format_: str | None = None,
    sha256: str | None = None,
) -> Page[FileRow]:
    """Return files, the newest first, behind the file `after`; of a format or digest alone."""
    where: list[ColumnElement[bool]] = []
    if format_ is not None:
        where.append(FileRow.format == format_)
    if sha256 is not None:
        where.append(FileRow.sha256 == sha256)
    return page_of(session, FileRow, FileRow.id, where, after=after, limit=limit)


def stored_bytes(session: Session) -> int:
    """Return how many bytes the account's files take."""
    mine = FileRow.account == account_of(session).name
    return int(session.scalar(select(func.sum(FileRow.size_bytes)).where(mine)) or 0)
