"""Which answers give what other requests name: OpenAPI's links."""

from collections.abc import Mapping
from typing import Any

# By a path that makes or lists things, the parameters that take their ids.
_GIVES = {
    "/v1/files": ("file_id",),
    "/v1/models": ("model_id",),
    "/v1/datasets": ("dataset_id",),
    "/v1/jobs": ("job_id",),
    "/v1/jobs/{job_id}/clone": ("job_id",),
    "/v1/policies/{policy_id}/evaluate": ("job_id",),
    "/v1/trials/{trial_id}/confirm": ("job_id",),
    "/v1/jobs/{job_id}/trials": ("trial_id",),
    "/v1/policies": ("policy_id", "other_id"),
    "/v1/artifacts": ("artifact_id",),
    "/v1/keys": ("key_id",),
}
_PLACES = {"post": "$response.body#/id", "get": "$response.body#/data/0/id"}


def add_links(paths: Mapping[str, Mapping[str, Any]]) -> None:
    """Link what gives an id with everything that takes it in its path."""
    for path, names in _GIVES.items():
        for method, place in _PLACES.items():
            operation = paths[path].get(method)
            if operation is not None:
                _success(operation)["links"] = _links(paths, names, place)


def _success(operation: Mapping[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = operation["responses"]
    return next(answer for status, answer in responses.items() if status.startswith("2"))


def _links(
    paths: Mapping[str, Mapping[str, Any]], names: tuple[str, ...], place: str
) -> dict[str, Any]:
    return {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "parameters": {name: place for name in names if f"{{{name}}}" in path},
        }
        for path, operations in paths.items()
        for operation in operations.values()
        if f"{{{names[0]}}}" in path
    }
