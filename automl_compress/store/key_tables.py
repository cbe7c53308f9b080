"""The tables of keys, and of the browsers that signed in with one."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from automl_compress.store.moments import now
from automl_compress.store.table import Belonging, Identifier, Table


class KeyRow(Belonging, Table):
    """A key of the HTTP interface; of the secret itself only the SHA-256 is kept.

    account: on whose behalf its requests act.
    scope: read, write or admin; each may do what those before it may.
    idempotency_key, request_digest: of the request that made it; those of all administrators are
        one space.
    """

    __tablename__ = "compress_key"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    scope: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "idempotency_key", unique=True),)


class SignInRow(Table):
    """A browser that signed in; of the session's cookie only the SHA-256 is kept.

    key_id: of the key that it gave; None for the operator's.
    proof: made of the cookie and the operator's key, so that another such key ends the session.
    """

    __tablename__ = "compress_sign_in"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str | None] = mapped_column(ForeignKey("compress_key.id"))
    proof: Mapped[str | None] = mapped_column(String(64))
    ends_at: Mapped[datetime]
