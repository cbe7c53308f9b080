"""Entity tags: answers that never change, and changes of what somebody else may have changed."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, TypeVar

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from automl_api.problem import Problem

Body = TypeVar("Body", bound=BaseModel)

ASKED_AGAIN = "private, no-cache"  # kept by a browser, but not used before the tag was asked for
IfNoneMatch = Annotated[
    str | None,
    Header(max_length=10_000, description="ETags of what the client has; 304 where one holds."),
]
TAG = {"ETag": {"description": "Of what was sent.", "schema": {"type": "string"}}}
TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": TAG},
    304: {"description": "What the client has still holds.", "headers": TAG},
}


def entity_tag(digest: str) -> str:
    """Return a strong entity tag."""
    return f'"{digest}"'


def versioned_tag(version: str, body: BaseModel) -> str:
    """Return the tag of a body that says more as time goes on.

    It begins with the version of what may be changed, to which `check_precondition` looks, so
    that progress, which makes it another tag, is in nobody's way.
    """
    return entity_tag(f"{version}.{sha256(body.model_dump_json().encode()).hexdigest()[:32]}")


def is_known(told: str | None, tag: str) -> bool:
    """Say whether the client has what a tag stands for, by its `If-None-Match`."""
    if told is None:
        return False
    return told == "*" or tag in (each.strip().removeprefix("W/") for each in told.split(","))


def unless_known(told: str | None, response: Response, body: Body) -> Body | Response:
    """Return a body, or 304 where the client has what `response` is tagged with."""
    if is_known(told, response.headers["ETag"]):
        return Response(status_code=304, headers=dict(response.headers))
    return body


def check_precondition(request: Request, version: str) -> None:
    """Refuse a change of anything but what the client has seen.

    Raises:
        Problem: the request has no `If-Match` (`needs-if-match`), or a tag of another version
            (`changed`).
    """
    told = request.headers.get("If-Match", "").strip()
    if not told:
        raise Problem(
            428,
            "needs-if-match",
            "send the ETag that GET told as the header If-Match, so that nobody else's change is "
            "undone unseen",
        )
    seen = (each.strip().partition(".")[0] for each in told.split(","))
    if told != "*" and f'"{version}' not in seen:
        raise Problem(
            412, "changed", "it was changed since you read it; GET it again, and decide anew"
        )


def document_response(told: str | None, content: Mapping[str, Any], cache_control: str) -> Response:
    """Answer with a policy document, or with 304 where the client has it.

    Args:
        told: the request's `If-None-Match`.
        content: of the document, with its digest.
        cache_control: who may keep it.
    """
    tag = entity_tag(content["digest"])
    headers = {"ETag": tag, "Cache-Control": cache_control}
    if is_known(told, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(dict(content), headers=headers)
