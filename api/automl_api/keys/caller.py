"""On whose behalf a request acts, and what it may do."""

from dataclasses import dataclass
from typing import Literal, get_args

from automl_compress.store.accounts import Account

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_CHANGE_NOTHING = ("/v1/estimates", "/sign-out")  # but are sent by POST
_OF_OPERATORS = ("/v1/keys", "/v1/workers", "/keys", "/system")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request.

    account: whose things are seen and made; empty for the operator.
    scope: each may do what those before it may; `admin` sees the things of all accounts.
    key_id: of the key that was given; None for the operator's, or where none is asked for.
    """

    account: str = ""
    scope: Scope = "admin"
    key_id: str | None = None

    @property
    def is_administrator(self) -> bool:
        """Whether everything of everybody is open."""
        return self.scope == "admin"

    @property
    def seen(self) -> Account:
        """What the tables show of themselves to this caller."""
        return Account(self.account, sees_all=self.is_administrator)

    def may(self, scope: Scope) -> bool:
        """Say whether the caller's scope includes another one."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


OPERATOR = Caller()


def needed_scope(method: str, path: str) -> Scope:
    """Return the scope that a request needs.

    Args:
        method: of HTTP.
        path: below the service's root.
    """
    if any(path == each or path.startswith(f"{each}/") for each in _OF_OPERATORS):
        return "admin"
    return "read" if method in _SAFE_METHODS or path in _CHANGE_NOTHING else "write"
