"""Answers that never change once they are there: strong ETags and 304."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse


def entity_tag(digest: str) -> str:
    """Return a strong entity tag."""
    return f'"{digest}"'


def is_known(request: Request, tag: str) -> bool:
    """Say whether the client has what this tag stands for."""
    told = request.headers.get("If-None-Match", "")
    return told == "*" or tag in (each.strip().removeprefix("W/") for each in told.split(","))


def document_response(request: Request, content: Mapping[str, Any], cache_control: str) -> Response:
    """Answer with a policy document, or with 304 where the client has it."""
    tag = entity_tag(content["digest"])
    headers = {"ETag": tag, "Cache-Control": cache_control}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(dict(content), headers=headers)
