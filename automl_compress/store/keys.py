"""Keys of the HTTP interface, and the browsers that signed in with one."""

import hashlib
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store.ids import new_id
from automl_compress.store.key_tables import KeyRow, SignInRow
from automl_compress.store.moments import now
from automl_compress.store.once import UNKEYED, Request, check_same
from automl_compress.store.paging import Page, page_of


def digest_of(secret: str) -> str:
    """Return what is kept of a secret: its SHA-256, in hexadecimal.

    A slow hash would protect secrets that somebody thought of; ours are 256 random bits.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def add(
    session: Session,
    secret: str,
    *,
    account: str,
    scope: str,
    name: str,
    request: Request = UNKEYED,
) -> KeyRow:
    """Store a key of an account under its digest, or return what the same request made.

    Args:
        session: the transaction.
        secret: of the new key; that of a returned one is another, which nobody knows any more.
        account: on whose behalf its requests act.
        scope: what they may do.
        name: for people.
        request: what tells a repeated request from another one.

    Raises:
        KeyReused: the idempotency key was used with another body.
    """
    made = _made_by(session, request)
    if made is not None:
        return made
    row = KeyRow(
        id=new_id("key"),
        account=account,
        scope=scope,
        name=name,
        digest=digest_of(secret),
        idempotency_key=request.idempotency_key,
        request_digest=request.digest,
    )
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:  # the same request, at the same time
        made = _made_by(session, request)
        if made is None:
            raise
        return made
    return row


def _made_by(session: Session, request: Request) -> KeyRow | None:
    if request.idempotency_key is None:
        return None
    wanted = KeyRow.idempotency_key == request.idempotency_key
    row = session.scalars(select(KeyRow).where(wanted)).one_or_none()
    check_same(row, request)
    return row


def with_secret(session: Session, secret: str) -> KeyRow | None:
    """Return the key of this secret; None where there is none, or it was revoked."""
    wanted = KeyRow.digest == digest_of(secret)
    return session.scalars(select(KeyRow).where(wanted, KeyRow.revoked_at.is_(None))).one_or_none()


def get(session: Session, key_id: str) -> KeyRow:
    """Return a key, revoked or not.

    Raises:
        NotFound: no key has this id.
    """
    row = session.get(KeyRow, key_id)
    if row is None:
        raise NotFound(f"no key has the id {key_id!r}; GET /v1/keys lists them")
    return row


def page(session: Session, *, after: str | None = None, limit: int = 50) -> Page[KeyRow]:
    """Return keys, the newest first, behind the key `after`."""
    return page_of(session, KeyRow, KeyRow.id, (), after=after, limit=limit)


def revoke(session: Session, key_id: str) -> KeyRow:
    """End a key and the sessions that it opened; harmless when that was done before.

    Raises:
        NotFound: no key has this id.
    """
    row = get(session, key_id)
    ended = update(KeyRow).where(KeyRow.id == key_id, KeyRow.revoked_at.is_(None))
    session.execute(ended.values(revoked_at=now()))
    session.execute(delete(SignInRow).where(SignInRow.key_id == key_id))
    session.refresh(row)
    return row


def sign_in(
    session: Session, cookie: str, ends_at: datetime, *, key_id: str | None, proof: str | None
) -> None:
    """Store a browser's session, and forget those that have ended."""
    session.execute(delete(SignInRow).where(SignInRow.ends_at < now()))
    row = SignInRow(digest=digest_of(cookie), key_id=key_id, proof=proof, ends_at=ends_at)
    session.add(row)
    session.flush()


def signed_in(session: Session, cookie: str) -> SignInRow | None:
    """Return the session of a cookie; None where there is none, or it has ended."""
    wanted = SignInRow.digest == digest_of(cookie)
    return session.scalars(select(SignInRow).where(wanted, SignInRow.ends_at > now())).one_or_none()


def sign_out(session: Session, cookie: str) -> None:
    """End a browser's session; harmless where there is none."""
    session.execute(delete(SignInRow).where(SignInRow.digest == digest_of(cookie)))
