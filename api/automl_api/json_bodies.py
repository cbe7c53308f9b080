"""JSON bodies that say one thing: no name twice, no NaN, nothing nested without end."""

import json
from typing import Any, NoReturn

from anyio import to_thread
from fastapi import Request

from automl_api.addressing import path_below_root
from automl_api.arriving import UPLOAD_PATH
from automl_api.problem import Problem


async def check_json(request: Request) -> None:
    """Refuse a JSON body that two readers could understand differently.

    Raises:
        Problem: a member stands twice in an object, or a number is none (`malformed`).
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
        json.loads(body, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) or "it is nested too deeply"
        raise Problem(400, "malformed", f"the body is not JSON: {reason}") from error


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice[:80]!r} stands twice in an object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
