"""The description of the interface, with every answer that it may give."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from automl_api.guard import OPEN_PATHS
from automl_api.openapi_links import add_links
from automl_api.problem import MEDIA_TYPE

_PROBLEM = {
    "title": "Problem",
    "description": "An error (RFC 9457); further members depend on its code.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string"},
                    "parameter": {"type": "string"},
                },
            },
        },
    },
}
_REASONS = {
    "400": "The request cannot be read.",
    "401": "A key is needed.",
    "403": "The key's scope does not allow it, or a page of another site sent it.",
    "404": "There is no such thing, or it belongs to another account.",
    "406": "It does not come in this format.",
    "408": "The body did not go on.",
    "409": "Not possible in its state, or while something else is made of it.",
    "412": "It was changed since it was read.",
    "413": "The body is too large.",
    "415": "The format is not supported.",
    "416": "There are no such bytes.",
    "422": "The request is not valid; `errors` point at fields and parameters.",
    "428": "The header If-Match is missing.",
    "429": "Too many requests, or a quota is used up.",
    "503": "The database is away, or too much is asked at once; try again later.",
    "507": "The storage did not take it.",
}
_OF_METHODS = {
    "post": ("408", "409", "413", "415", "507"),
    "patch": ("408", "409", "412", "413", "428", "507"),
    "delete": ("409", "507"),
}
_OF_ENDS = {"/events": "406", "/content": "416"}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        _complete(made)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(made: dict[str, Any]) -> None:
    parts = made.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's, never answered
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"key": []}]
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            if path in OPEN_PATHS:
                operation["security"] = []
            responses = operation["responses"]
            responses.pop("422", None)
            for status in _statuses(method, path, operation):
                responses[status] = _problem_answer(status)
    add_links(made["paths"])


def _statuses(method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    found = {"400", "401", "403", "422", "429", "503", *_OF_METHODS.get(method, ())}
    found.update(status for end, status in _OF_ENDS.items() if path.endswith(end))
    if "{" in path or _refers(operation):
        found.add("404")
    return sorted(found)


def _refers(operation: Mapping[str, Any]) -> bool:
    """Say whether a query or a body names things that may not be there."""
    names = {each["name"] for each in operation.get("parameters", ())}
    return "requestBody" in operation or bool(names & {"job", "job_id", "dataset_id"})


def _problem_answer(status: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _REASONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
