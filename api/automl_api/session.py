"""A browser's session: a cookie that proves that its user once gave the key, without holding it."""

import hashlib
import hmac
import time

COOKIE = "automl_compress_session"
LIFETIME_SECONDS = 12 * 3600


def new_session(key: str, *, now: float | None = None) -> str:
    """Return the cookie's value: when it ends, and a code that only the key can have made."""
    moment = time.time() if now is None else now
    ends = str(int(moment) + LIFETIME_SECONDS)
    return f"{ends}.{_code(key, ends)}"


def is_session(key: str, value: str, *, now: float | None = None) -> bool:
    """Say whether a cookie was made with this key and has not ended."""
    ends, _, code = value.partition(".")
    if not hmac.compare_digest(code.encode(), _code(key, ends).encode()):
        return False
    return int(ends) > (time.time() if now is None else now)


def is_key(key: str, told: str) -> bool:
    """Compare a key that somebody told with the service's, in constant time."""
    return hmac.compare_digest(told.encode(), key.encode())


def _code(key: str, ends: str) -> str:
    return hmac.new(key.encode(), f"session until {ends}".encode(), hashlib.sha256).hexdigest()
