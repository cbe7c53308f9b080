"""`Idempotency-Key`: a request that is sent again makes nothing again."""

import hashlib
import json
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

from automl_compress.store.once import Request

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x20-\x7e]+$",
        description="A second request with this key and the same body gives what the first made; "
        "with another body it is refused.",
    ),
]


def request_digest(body: object) -> str:
    """Return 64 hexadecimal digits that are the same for equal bodies alone."""
    content = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
    # Not the canonical form of documents, which refuses integers that a user may well send.
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def request_of(key: str | None, body: BaseModel) -> Request:
    """Return what tells a repeated request from another one."""
    return Request(key, request_digest(body))
