"""JSON bodies that say one thing: no name twice, no NaN, nothing nested without end."""

import json
from typing import Any, NoReturn, cast

from anyio import to_thread
from fastapi import Request

from automl_api.addressing import path_below_root
from automl_api.arriving import UPLOAD_PATH
from automl_api.problem import Problem

MOST_LEVELS = 64  # of objects and lists in one another; no body of the interface needs ten


async def check_json(request: Request) -> None:
    """Refuse a JSON body that two readers could understand differently.

    Raises:
        Problem: a member stands twice in an object, a number is none, or more than `MOST_LEVELS`
            objects and lists stand in one another (`malformed`).
    """
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if not is_json or path_below_root(request) == UPLOAD_PATH:  # which never reads it as JSON
        return
    body = await request.body()
    if body:
        await to_thread.run_sync(_check, body)


def _check(body: bytes) -> None:
    try:
        _check_levels(json.loads(body, object_pairs_hook=_object, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        reason = str(error) or "it is nested too deeply"
        raise Problem(400, "malformed", f"the body is not JSON: {reason}") from error


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise ValueError(f"the member {name[:80]!r} stands twice in an object")
        found[name] = value
    return found


def _check_levels(value: object) -> None:
    """Refuse what code that calls itself for each level could not walk through."""
    within: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        members = (member for each in within for member in _members(each))
        within = [member for member in members if isinstance(member, (dict, list))]
        if not within:
            return
    raise ValueError(f"it is nested too deeply, in more than {MOST_LEVELS} levels")


def _members(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
