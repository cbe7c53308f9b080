"""The table of targets."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from automl_compress.store.moments import now
from automl_compress.store.table import Belonging, Identifier, Json, Table


class TargetRow(Belonging, Table):
    """An engine on a processor, with a table of what layers take there.

    engine, processor, engine_version, batch: as in the table.
    graph_fingerprint: of the network for which it was measured; None where that is not known.
    idempotency_key, request_digest: as in models.
    """

    __tablename__ = "compress_target"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    engine: Mapped[str] = mapped_column(String(100))
    processor: Mapped[str] = mapped_column(String(255))
    engine_version: Mapped[str] = mapped_column(String(100))
    batch: Mapped[int]
    graph_fingerprint: Mapped[str | None] = mapped_column(String(80), index=True)
    latency_table: Mapped[Json]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (Index(None, "idempotency_key", "account", unique=True),)
