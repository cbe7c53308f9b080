"""Where a service stands that a proxy serves under a prefix."""

from starlette.requests import HTTPConnection
from starlette.types import Scope

_NO_PAGES = ("/v1/", "/static/", "/metrics", "/openapi.json")


def below_prefix(scope: Scope, prefix: str) -> Scope:
    """Return the scope of a request under a prefix, whether the proxy passed it on or cut it off.

    Args:
        scope: as the server made it.
        prefix: such as `/x/y`; empty for none.
    """
    if not prefix:
        return scope
    path = scope["path"]
    whole = path if path.startswith(f"{prefix}/") else f"{prefix}{path}"
    return {**scope, "root_path": prefix, "path": whole}


def wants_page(request: HTTPConnection) -> bool:
    """Say whether a browser's reader asks for a page, and no program for an answer."""
    is_page = not path_below_root(request).startswith(_NO_PAGES)
    return is_page and "text/html" in request.headers.get("Accept", "")


def path_below_root(request: HTTPConnection) -> str:
    """Return a request's path without the prefix."""
    scope = request.scope  # what is mounted has a root of its own, and is told that of the whole
    root = scope.get("app_root_path", scope.get("root_path", ""))
    return str(scope["path"]).removeprefix(root)
