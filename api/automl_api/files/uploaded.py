"""What other resources are made of: uploaded files of the right format."""

from automl_api.problem import Problem
from automl_api.service import Service
from automl_compress.store import files as file_rows


def uploaded_path(service: Service, file_id: str, wanted: str, pointer: str, code: str) -> str:
    """Return where an uploaded file lies, relative to the data directory.

    Args:
        service: whose file it is.
        file_id: as the request names it.
        wanted: the format that it must have.
        pointer: to the field of the request, for the message.
        code: of the problem where it has another format.

    Raises:
        NotFound: no file has this id.
        Problem: the file has another format.
    """
    with service.database.reading() as session:
        row = file_rows.get(session, file_id)
    if row.format != wanted:
        detail = f"file {row.id} is {row.format}, not {wanted}; name a {wanted} file"
        raise Problem(422, code, detail, errors=[{"pointer": pointer, "detail": detail}])
    return row.path
