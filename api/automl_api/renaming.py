"""What may change of a registered network or of registered data: what lists call them."""

from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel

from automl_api.bodies import Name, RequestBody
from automl_api.caching import ASKED_AGAIN, check_precondition, versioned_tag
from automl_compress.core.canonical import digest
from automl_compress.store import DatasetRow, ModelRow

IfMatch = Annotated[
    str | None, Header(max_length=1000, description="The ETag of what is changed, as GET told it.")
]


class NewName(RequestBody):
    """What it is to be called; jobs of before go on to tell the name that they were made with."""

    name: Name


def version_of(row: ModelRow | DatasetRow) -> str:
    """Return a digest of what may change."""
    return digest([row.id, row.name]).removeprefix("sha256:")


def tell_version(response: Response, row: ModelRow | DatasetRow, body: BaseModel) -> None:
    """Say in an answer which version it describes."""
    response.headers["ETag"] = versioned_tag(version_of(row), body)
    response.headers["Cache-Control"] = ASKED_AGAIN


def rename(request: Request, row: ModelRow | DatasetRow, new: NewName) -> None:
    """Rename what the caller has locked.

    Raises:
        Problem: the request has no `If-Match` (`needs-if-match`), or another tag (`changed`).
    """
    check_precondition(request, version_of(row))
    row.name = new.name
