"""Every error as a problem document (RFC 9457): the one place that knows status codes."""

import errno
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, NoReturn, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from automl_api.addressing import path_below_root
from automl_compress.core import errors

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)

# The first class that fits decides, so leaves stand before their parents.
_STATUS_AND_CODE: Sequence[tuple[type[Exception], int, str]] = (
    (errors.BudgetUnreachable, 422, "infeasible-budget"),
    (errors.PolicyMismatch, 422, "fingerprint-mismatch"),
    (errors.PolicyInvalid, 422, "invalid-policy"),
    (errors.WeightsMismatch, 422, "weights-mismatch"),
    (errors.OperatorsRefused, 422, "unsupported-operator"),
    (errors.ModelInvalid, 422, "invalid-model"),
    (errors.DataInvalid, 422, "invalid-data"),
    (errors.UnknownName, 422, "unknown-name"),
    (errors.KeyReused, 422, "idempotency-mismatch"),
    (errors.InvalidInput, 422, "invalid"),
    (errors.NotFound, 404, "not-found"),
    (errors.InUse, 409, "in-use"),
    (errors.WrongState, 409, "wrong-state"),
    (errors.ClusterFailed, 503, "cluster-failed"),
    (errors.DatabaseAway, 503, "unavailable"),
    (errors.StorageFailed, 507, "storage-failed"),
)
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
_TITLES = {
    "changed": "It was changed in the meantime",
    "fingerprint-mismatch": "The policy was made for another network",
    "idempotency-mismatch": "The idempotency key was used with another body",
    "in-use": "Something else is made of it",
    "infeasible-budget": "No policy of this space is that small",
    "invalid": "The request is not valid",
    "invalid-data": "The data cannot be used",
    "invalid-model": "The network cannot be used",
    "invalid-policy": "The policy document cannot be read",
    "malformed": "The request cannot be read",
    "needs-if-match": "The request must say which version it changes",
    "nothing-fits": "No measured policy is within this limit",
    "queue-full": "The account has as many unfinished jobs as it may have",
    "quota-exceeded": "The account stores as much as it may",
    "rate-limited": "Too many requests",
    "storage-failed": "The storage did not take it",
    "cluster-failed": "The cluster that evaluates cannot be used",
    "too-large": "The upload is larger than this service takes",
    "unknown-name": "There is nothing of this name",
    "unsupported-format": "The format is not supported",
    "unsupported-operator": "The network uses operators that are not supported",
    "weights-mismatch": "The weights do not fit the network",
    "wrong-state": "Not possible in this state",
}
_MOST_NODES = 100  # refused nodes that one answer names
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Problem(Exception):
    """An error of the HTTP interface itself, with everything its document says.

    Attributes:
        errors: what is wrong with which field; each has `pointer` or `parameter`, and `detail`.
        extensions: further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take down what the document will say."""
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.extensions = tuple(errors), dict(extensions or {})
        self.headers = dict(headers or {})


def pointer(*parts: object) -> str:
    """Write where a field stands in a body (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def not_found(noun: str, identity: str) -> NoReturn:
    """Raise the problem that there is no such thing."""
    raise Problem(404, "not-found", f"there is no {noun} {identity!r}; GET the list to see all")


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(errors.AutomlCompressError, _answer_known)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(OSError, _answer_system)
    app.add_exception_handler(Exception, _answer_unexpected)


def document(problem: Problem, instance: str, request_id: str) -> dict[str, Any]:
    """Write the problem document."""
    phrase = HTTPStatus(problem.status).phrase
    content: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": _TITLES.get(problem.code, phrase),
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "request_id": request_id,
        "code": problem.code,
        **problem.extensions,
    }
    if problem.errors:
        content["errors"] = [dict(each) for each in problem.errors]
    return content


def from_known(error: errors.AutomlCompressError) -> Problem:
    """Turn an error of the tree into a problem."""
    status, code = next(
        ((status, code) for kind, status, code in _STATUS_AND_CODE if isinstance(error, kind)),
        (500, "internal"),
    )
    extensions: dict[str, Any] = {}
    if isinstance(error, errors.BudgetUnreachable):
        extensions = {
            "metric": error.metric,
            "limit": int(error.limit),
            "smallest": int(error.smallest),
        }
    nodes = error.nodes.items() if isinstance(error, errors.OperatorsRefused) else ()
    told = [{"pointer": place, "detail": node} for place, node in islice(nodes, _MOST_NODES)]
    headers = {"Retry-After": "5"} if status == 503 else {}
    return Problem(status, code, str(error), errors=told, extensions=extensions, headers=headers)


def respond(request: Request, problem: Problem) -> JSONResponse:
    """Answer a request with a problem document."""
    identity: str = getattr(request.state, "request_id", "")
    return JSONResponse(
        document(problem, request.url.path, identity),
        problem.status,
        headers={**problem.headers, "X-Request-Id": identity},
        media_type=MEDIA_TYPE,
    )


async def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    return respond(request, cast("Problem", error))


async def _answer_known(request: Request, error: Exception) -> JSONResponse:
    return respond(request, from_known(cast("errors.AutomlCompressError", error)))


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    known = cast("HTTPException", error)
    if isinstance(known.__cause__, Problem):  # raised while the body was read
        return respond(request, known.__cause__)
    code = _CODE_OF_STATUS.get(known.status_code, f"http-{known.status_code}")
    detail = f"{request.method} {request.url.path}: {known.detail}"
    if known.status_code == 404:
        detail = f"there is nothing at {request.url.path}; /openapi.json lists every path"
    elif known.status_code == 405:
        allowed = ", ".join(_allowed_methods(request))
        known.headers = {**(known.headers or {}), "Allow": allowed}
        detail = f"{request.method} is not possible at {request.url.path}; allowed: {allowed}"
    return respond(
        request, Problem(known.status_code, code, detail, headers=dict(known.headers or {}))
    )


def _allowed_methods(request: Request) -> list[str]:
    """Collect them over all operations of a path; one route knows only its own."""
    app: FastAPI = request.app
    methods: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        pattern, _, _ = compile_path(template)
        if pattern.fullmatch(path_below_root(request)):
            methods.update(name.upper() for name in operations)
    return sorted(methods)


async def _answer_validation(request: Request, error: Exception) -> JSONResponse:
    found = cast("RequestValidationError", error).errors()
    if any(each["type"] == "json_invalid" for each in found):
        reason = str(found[0].get("ctx", {}).get("error", "syntax error"))
        return respond(request, Problem(400, "malformed", f"the body is not JSON: {reason}"))
    fields = [_field_error(each) for each in found]
    first = fields[0]
    where = first.get("pointer") or first.get("parameter")
    more = f", and {len(fields) - 1} more" if len(fields) > 1 else ""
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
    return respond(request, Problem(500, "internal", detail))
