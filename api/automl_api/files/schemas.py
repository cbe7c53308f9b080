"""Bodies of `/v1/files`."""

from automl_api.bodies import Moment, ResponseBody
from automl_compress.store import FileRow


class FileBody(ResponseBody):
    """An uploaded file."""

    id: str
    name: str
    purpose: str
    format: str
    size_bytes: int
    sha256: str
    created: Moment


def file_body(row: FileRow) -> FileBody:
    """Describe a file's row."""
    return FileBody(
        id=row.id,
        name=row.name,
        purpose=row.purpose,
        format=row.format,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created=row.created_at,
    )
