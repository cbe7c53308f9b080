"""Whom a key or a browser's session belongs to, and how often one may try."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from automl_api.client_addresses import client_of
from automl_api.keys.caller import OPERATOR, Caller, Scope
from automl_api.keys.rates import Rate
from automl_compress.store import Database, KeyRow, keys
from automl_compress.store.moments import now

COOKIE = "automl_compress_session"
LIFETIME = timedelta(hours=12)
SECRET_PREFIX = "amc_"  # by which a key is known where it should not be, as in a repository
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """How often something may be done in a minute; each API process counts for itself.

    requests: of one key.
    wrong_keys: from one address.
    """

    requests: int
    wrong_keys: int


class Doorkeeper:
    """Tells who a request comes from.

    An address (of IPv6, a network of 64 bits) that sent too many wrong keys is not heard for a
    minute, be its next key right or wrong, unless that key was let in before: who guesses learns
    nothing, and who shares the address with a guesser goes on working.
    """

    def __init__(self, database: Database, key: str | None, limits: Limits) -> None:
        """Guard with the operator's key and those of the table; without the former, let all in."""
        self._database, self._key = database, key
        self._requests, self._wrong = Rate(limits.requests), Rate(limits.wrong_keys)
        self._known: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return self._key is None

    def admit(self, secret: str, address: str) -> Caller | None:
        """Return who a key belongs to; None for a wrong one.

        Raises:
            Problem: too many wrong keys came from this address, or too many requests with this
                key (`rate-limited`).
        """
        digest, client = keys.digest_of(secret), client_of(address)
        if digest not in self._known:
            self._wrong.check(client, "too many wrong keys came from your address")
        caller = self._owner(secret)
        if caller is None:
            self._known.discard(digest)
            self._wrong.count(client)
            return None
        self._known.add(digest)
        self._requests.take(digest, "too many requests came with this key")
        return caller

    def admit_session(self, cookie: str) -> Caller | None:
        """Return who signed in with this cookie; None where nobody is.

        Raises:
            Problem: too many requests came in this session (`rate-limited`).
        """
        if not cookie or self._key is None:
            return None
        with self._database.reading() as session:
            row = keys.signed_in(session, cookie)
            if row is None:
                return None
            key = None if row.key_id is None else keys.get(session, row.key_id)
            proof = row.proof
        if key is None and not hmac.compare_digest(proof or "", _proof(cookie, self._key)):
            return None
        self._requests.take(keys.digest_of(cookie), "too many requests came in this session")
        return OPERATOR if key is None else _caller(key)

    def still_admits(self, caller: Caller) -> bool:
        """Say whether the key by which a caller came in is good still."""
        if caller.key_id is None:
            return True
        with self._database.reading() as session:
            return keys.get(session, caller.key_id).revoked_at is None

    def sign_in(self, caller: Caller) -> str:
        """Begin a browser's session; return the cookie, which is stored nowhere."""
        cookie = secrets.token_urlsafe(_SECRET_BYTES)
        proof = _proof(cookie, self._key) if caller.key_id is None and self._key else None
        with self._database.session() as session:
            keys.sign_in(session, cookie, now() + LIFETIME, key_id=caller.key_id, proof=proof)
        return cookie

    def sign_out(self, cookie: str) -> None:
        """End a browser's session."""
        with self._database.session() as session:
            keys.sign_out(session, cookie)

    def _owner(self, secret: str) -> Caller | None:
        if self._key is not None and hmac.compare_digest(secret.encode(), self._key.encode()):
            return OPERATOR
        if not secret.startswith(SECRET_PREFIX):
            return None
        with self._database.reading() as session:
            row = keys.with_secret(session, secret)
        return None if row is None else _caller(row)


def new_secret() -> str:
    """Make a key that nobody can guess."""
    return SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def read_cookie(cookies: Mapping[str, str]) -> str:
    """Return a request's session cookie; empty where it has none."""
    return cookies.get(COOKIE, "")


def _caller(row: KeyRow) -> Caller:
    return Caller(row.account, cast("Scope", row.scope), row.id)


def _proof(cookie: str, key: str) -> str:
    return hmac.new(cookie.encode(), key.encode(), hashlib.sha256).hexdigest()
