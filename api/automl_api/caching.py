"""Entity tags: answers that never change, and changes of what somebody else may have changed."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from automl_api.problem import Problem

NO_STORE = "no-store"


def entity_tag(digest: str) -> str:
    """Return a strong entity tag."""
    return f'"{digest}"'


def is_known(request: Request, tag: str) -> bool:
    """Say whether the client has what this tag stands for."""
    told = request.headers.get("If-None-Match", "")
    return told == "*" or tag in (each.strip().removeprefix("W/") for each in told.split(","))


def check_precondition(request: Request, tag: str) -> None:
    """Refuse a change of anything but what the client has seen.

    Raises:
        Problem: the request has no `If-Match` (`needs-if-match`), or another tag (`changed`).
    """
    told = request.headers.get("If-Match", "").strip()
    if not told:
        raise Problem(
            428,
            "needs-if-match",
            "send the ETag that GET told as the header If-Match, so that nobody else's change is "
            "undone unseen",
        )
    if told != "*" and tag not in (each.strip() for each in told.split(",")):
        raise Problem(
            412, "changed", "it was changed since you read it; GET it again, and decide anew"
        )


def document_response(request: Request, content: Mapping[str, Any], cache_control: str) -> Response:
    """Answer with a policy document, or with 304 where the client has it."""
    tag = entity_tag(content["digest"])
    headers = {"ETag": tag, "Cache-Control": cache_control}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(dict(content), headers=headers)
