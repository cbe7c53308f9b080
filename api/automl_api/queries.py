"""Query parameters that say one thing: none that an operation does not know, none twice."""

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from anyio import to_thread
from fastapi import Request

from automl_api.problem import Problem

_MOST_NAMED = 20  # parameters, in one answer


async def check_query(request: Request) -> None:
    """Refuse a parameter that would have no effect: what OpenAPI does not name, or a second value.

    Pages are free: what a link from elsewhere adds to their address changes nothing.

    Raises:
        Problem: names what came and what the operation takes (`invalid`).
    """
    if not request.query_params:
        return
    template = request.scope["route"].path
    app = request.app
    described = app.openapi_schema or await to_thread.run_sync(app.openapi)  # takes a while, once
    operation = described["paths"].get(template, {}).get(request.method.lower())
    if operation is None:
        return
    takes = {
        each["name"]: _is_list(each["schema"])
        for each in operation.get("parameters", ())
        if each["in"] == "query"
    }
    counted = Counter(name for name, _ in request.query_params.multi_items())
    objections = (
        {"parameter": name[:80], "detail": reason}
        for name, count in counted.items()
        if (reason := _objection(name, count, takes))
    )
    # An address has room for thousands, and to think about each of them keeps everybody waiting.
    errors = list(islice(objections, _MOST_NAMED))
    if errors:
        allowed = f"it takes {', '.join(takes)}" if takes else "it takes none"
        reasons = "; ".join(f"{each['parameter']!r}: {each['detail']}" for each in errors[:3])
        detail = f"query of {request.method} {template}: {reasons}; {allowed}"
        raise Problem(422, "invalid", detail, errors=errors)


def _objection(name: str, count: int, takes: Mapping[str, bool]) -> str:
    """Say what is wrong with a parameter; `takes` says of each that is known if it may repeat."""
    if name not in takes:
        close = get_close_matches(name[:80], takes, 1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        return f"no such parameter{meant}"
    return "it stands twice" if count > 1 and not takes[name] else ""


def _is_list(schema: Mapping[str, Any]) -> bool:
    kinds = [each.get("type") for each in (schema, *schema.get("anyOf", ()))]
    return "array" in kinds
