"""Targets: latency tables, measured by jobs or brought by users."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    table = "compress_target"
    op.create_table(
        table,
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account", sa.String(50), nullable=False, server_default=""),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("engine", sa.String(100), nullable=False),
        sa.Column("processor", sa.String(255), nullable=False),
        sa.Column("engine_version", sa.String(100), nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("graph_fingerprint", sa.String(80), nullable=True),
        sa.Column("latency_table", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("request_digest", sa.String(64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )
    for column in ("account", "graph_fingerprint"):
        op.create_index(f"ix_{table}_{column}", table, [column])
    name = f"ix_{table}_idempotency_key_account"
    op.create_index(name, table, ["idempotency_key", "account"], unique=True)
