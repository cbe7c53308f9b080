"""`/v1/files`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from automl_api.files.digests import ReprDigest, told_digest
from automl_api.files.recognition import FileFormat
from automl_api.files.schemas import FileBody, file_body
from automl_api.files.upload import STORING, Sent, receive
from automl_api.pages import After, Limit, Listing, listing
from automl_api.service import ServiceDependency
from automl_compress.store import files as file_rows
from automl_compress.store import removal

router = APIRouter(prefix="/v1/files", tags=["files"])


@router.post("", status_code=201, responses={200: {"model": FileBody}})
async def upload_file(
    request: Request,
    response: Response,
    service: ServiceDependency,
    name: Annotated[str, Query(max_length=255, description="For people; any.")] = "upload",
    repr_digest: ReprDigest = None,
) -> FileBody:
    """Upload a safetensors, pt2, npz, parquet or zip file as the raw body of the request.

    The format is told by the content. The same bytes give the same file, with status 200. With
    `Repr-Digest: sha-256=:...:` bytes that arrive damaged are refused.
    """
    length = int(request.headers.get("Content-Length", 0))  # which the server has checked
    sent = Sent(name, length, None if repr_digest is None else told_digest(repr_digest))
    row, is_new = await receive(service, request.stream(), sent)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/files/{row.id}"
    return file_body(row)


@router.get("")
def list_files(
    service: ServiceDependency,
    format: FileFormat | None = None,
    sha256: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None,
    after: After = None,
    limit: Limit = 50,
) -> Listing[FileBody]:
    """List the files, the newest first."""
    with service.database.reading() as session:
        page = file_rows.page(session, after=after, limit=limit, format_=format, sha256=sha256)
    filters = {"format": format, "sha256": sha256, "limit": limit}
    return listing(page, file_body, "/v1/files", filters)


@router.get("/{file_id}")
def get_file(file_id: str, service: ServiceDependency) -> FileBody:
    """Describe one file."""
    with service.database.reading() as session:
        return file_body(file_rows.get(session, file_id))


@router.delete("/{file_id}", status_code=204)
def delete_file(file_id: str, service: ServiceDependency) -> None:
    """Delete a file that no model and no data set is made of, for good."""
    with STORING:
        with service.database.session() as session:
            paths = removal.remove_file(session, file_id)
        for path in paths:
            service.files.remove(path)
