"""Bodies of `/v1/keys` and `/v1/me`."""

from typing import Annotated, cast

from pydantic import Field

from automl_api.bodies import Moment, Name, RequestBody, ResponseBody
from automl_api.keys.caller import Scope
from automl_compress.store import KeyRow

ACCOUNT_PATTERN = r"^[a-z0-9][a-z0-9._\-]{0,49}$"


class NewKey(RequestBody):
    """A key to make: on whose behalf it acts, and what it may do."""

    account: Annotated[str, Field(pattern=ACCOUNT_PATTERN)]
    scope: Scope = "write"
    name: Name | None = None


class KeyBody(ResponseBody):
    """A key; the secret itself is kept nowhere."""

    id: str
    account: str
    scope: Scope
    name: str
    created: Moment
    revoked: Moment | None


class NewKeyBody(KeyBody):
    """A key that was just made, with its secret, which is shown this once."""

    key: str


class CallerBody(ResponseBody):
    """Who asks, and what is left of the account's quotas; null where it has none."""

    account: str
    scope: Scope
    key_id: str | None
    stored_bytes: int
    max_stored_bytes: int | None
    unfinished_jobs: int
    max_unfinished_jobs: int | None


def key_body(row: KeyRow) -> KeyBody:
    """Describe a key's row."""
    return KeyBody(
        id=row.id,
        account=row.account,
        scope=cast("Scope", row.scope),
        name=row.name,
        created=row.created_at,
        revoked=row.revoked_at,
    )
