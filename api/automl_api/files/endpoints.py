"""`/v1/files`."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from automl_api.files.schemas import FileBody, file_body
from automl_api.files.upload import receive
from automl_api.pages import After, Limit, Listing, listing
from automl_api.service import ServiceDependency
from automl_compress.store import files as file_rows

router = APIRouter(prefix="/v1/files", tags=["files"])


@router.post("", status_code=201)
async def upload_file(
    request: Request,
    response: Response,
    service: ServiceDependency,
    name: Annotated[str, Query(max_length=255, description="For people; any.")] = "upload",
    content_length: Annotated[int | None, Header(ge=0)] = None,
) -> FileBody:
    """Upload a safetensors, pt2, npz or parquet file as the raw body of the request.

    The format is told by the content. The same bytes give the same file, with status 200.
    """
    row, is_new = await receive(service, request.stream(), name, content_length)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/files/{row.id}"
    return file_body(row)


@router.get("")
def list_files(
    service: ServiceDependency, after: After = None, limit: Limit = 50
) -> Listing[FileBody]:
    """List the files, the newest first."""
    with service.database.reading() as session:
        page = file_rows.page(session, after=after, limit=limit)
    return listing(page, file_body, "/v1/files", {"limit": limit})


@router.get("/{file_id}")
def get_file(file_id: str, service: ServiceDependency) -> FileBody:
    """Describe one file."""
    with service.database.reading() as session:
        return file_body(file_rows.get(session, file_id))
