"""`Repr-Digest` (RFC 9530): what a file's bytes must hash to."""

import base64
import binascii
import re
from typing import Annotated

from fastapi import Header

from automl_api.problem import Problem

ReprDigest = Annotated[
    str | None,
    Header(max_length=1000, description="`sha-256=:BASE64:`; other algorithms are ignored."),
]

_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):")
_DIGEST_BYTES = 32


def told_digest(header: str) -> str | None:
    """Return the SHA-256 that a header tells, in hexadecimal; None where it tells another one.

    Raises:
        Problem: it tells a SHA-256 that is none.
    """
    found = _SHA256.search(header)
    if found is None:
        return None
    try:
        told = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        told = b""
    if len(told) != _DIGEST_BYTES:
        detail = f"Repr-Digest is {header!r}; give sha-256=:...: with 32 bytes in base64"
        errors = [{"parameter": "Repr-Digest", "detail": detail}]
        raise Problem(422, "invalid", detail, errors=errors)
    return told.hex()


def digest_header(sha256: str) -> str:
    """Return the header's value for a SHA-256 in hexadecimal."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
