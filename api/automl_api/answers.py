"""How the application answers errors, those of the framework too: with problem documents."""

import errno
import logging
from collections.abc import Mapping
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from automl_api.addressing import path_below_root, wants_page
from automl_api.dashboard.rendering import explain
from automl_api.places import document_for
from automl_api.problem import MEDIA_TYPE, Problem, from_known, pointer
from automl_compress.core import errors

_log = logging.getLogger(__name__)

_CODE_OF_STATUS = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "too-slow",
    409: "wrong-state",
    411: "length-required",
    413: "too-large",
    415: "unsupported-format",
    416: "range-not-satisfiable",
    422: "invalid",
    503: "unavailable",
}
_MOST_FIELDS = 100  # that one answer names; a body has room for many thousands
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(errors.AutomlCompressError, _answer_known)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(OSError, _answer_system)
    app.add_exception_handler(Exception, _answer_unexpected)


def respond(request: Request, problem: Problem) -> JSONResponse:
    """Answer a request with a problem document."""
    identity: str = getattr(request.state, "request_id", "")
    return JSONResponse(
        document_for(request, problem),
        problem.status,
        headers={**problem.headers, "X-Request-Id": identity},
        media_type=MEDIA_TYPE,
    )


async def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    return respond(request, cast("Problem", error))


async def _answer_known(request: Request, error: Exception) -> JSONResponse:
    return respond(request, from_known(cast("errors.AutomlCompressError", error)))


async def _answer_http(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    if isinstance(known.__cause__, Problem):  # raised while the body was read
        return respond(request, known.__cause__)
    code = _CODE_OF_STATUS.get(known.status_code, f"http-{known.status_code}")
    detail = f"{request.method} {request.url.path}: {known.detail}"
    if known.status_code == 404:
        detail = f"there is nothing at {request.url.path}; /openapi.json lists every path"
        if wants_page(request):
            detail = f"there is no page at {request.url.path}; the address may be mistyped"
    elif known.status_code == 405:
        allowed = ", ".join(_allowed_methods(request, (known.headers or {}).get("Allow", "")))
        known.headers = {**(known.headers or {}), "Allow": allowed}
        detail = f"{request.method} is not possible at {request.url.path}; allowed: {allowed}"
    problem = Problem(known.status_code, code, detail, headers=dict(known.headers or {}))
    return explain(request, problem) if wants_page(request) else respond(request, problem)


def _allowed_methods(request: Request, told: str) -> list[str]:
    """Collect them over all operations of a path; `told` are those of one route alone."""
    app: FastAPI = request.app
    methods = {each.strip() for each in told.split(",") if each.strip()}
    for template, operations in app.openapi()["paths"].items():
        pattern, _, _ = compile_path(template)
        if pattern.fullmatch(path_below_root(request)):
            methods.update(name.upper() for name in operations)
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


async def _answer_validation(request: Request, error: Exception) -> JSONResponse:
    found = cast("RequestValidationError", error).errors()
    if any(each["type"] == "json_invalid" for each in found):
        reason = str(found[0].get("ctx", {}).get("error", "syntax error"))
        return respond(request, Problem(400, "malformed", f"the body is not JSON: {reason}"))
    fields = [_field_error(each) for each in found[:_MOST_FIELDS]]
    first = fields[0]
    where = first.get("pointer") or first.get("parameter")
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    detail = f"{where}: {first['detail']}{more}"
    return respond(request, Problem(422, "invalid", detail, errors=fields))


def _field_error(error: Mapping[str, Any]) -> dict[str, Any]:
    source, *path = error["loc"]
    detail = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        detail = "this field is not known; leave it out"
    came = error.get("input")
    if isinstance(came, (str, int, float, bool)) and error["type"] != "missing":
        detail = f"{detail}; {str(came)[:80]!r} came"
    if source == "body":
        return {"pointer": pointer(*path) or "/", "detail": detail}
    return {"parameter": ".".join(map(str, path)), "detail": detail}


async def _answer_system(request: Request, error: Exception) -> JSONResponse:
    if cast("OSError", error).errno not in _FULL:
        return await _answer_unexpected(request, error)
    detail = "the disk of the service is full; nothing was stored: free some space and try again"
    return respond(request, Problem(507, "storage-failed", detail))


async def _answer_unexpected(request: Request, error: Exception) -> JSONResponse:
    identity = getattr(request.state, "request_id", "")
    _log.error("request %s failed", identity, exc_info=error)
    detail = f"an unexpected error; the service's log has it under request {identity}"
    # The server closes the connection behind it, which the client must not use again.
    return respond(request, Problem(500, "internal", detail, headers={"Connection": "close"}))
