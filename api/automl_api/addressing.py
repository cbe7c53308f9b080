"""Where a service stands that a proxy serves under a prefix."""

from starlette.requests import HTTPConnection
from starlette.types import Scope


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


def path_below_root(request: HTTPConnection) -> str:
    """Return a request's path without the prefix."""
    return str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))
