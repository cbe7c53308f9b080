"""Rows belong to accounts; keys and sessions of browsers are stored as digests."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BELONGING = ("file", "model", "dataset", "job")


def upgrade() -> None:
    """What is stored already belongs to the operator."""
    for table in BELONGING:
        op.add_column(f"compress_{table}", account())
        op.create_index(f"ix_compress_{table}_account", f"compress_{table}", ["account"])
    # SQLite makes the table anew, for which foreign keys must be off: the caller sees to it.
    with op.batch_alter_table("compress_file") as files:
        files.drop_constraint("uq_compress_file_sha256_purpose", type_="unique")
        files.create_unique_constraint(
            "uq_compress_file_account_sha256_purpose", ["account", "sha256", "purpose"]
        )
    for table in ("model", "dataset"):
        op.add_column(f"compress_{table}", sa.Column("idempotency_key", sa.String(255)))
        op.add_column(f"compress_{table}", sa.Column("request_digest", sa.String(64)))
        op.create_index(
            f"ix_compress_{table}_idempotency_key_account",
            f"compress_{table}",
            ["idempotency_key", "account"],
            unique=True,
        )
    op.execute(
        "UPDATE compress_job SET idempotency_key = '/' || idempotency_key "
        "WHERE idempotency_key IS NOT NULL"
    )
    make_keys()


def make_keys() -> None:
    """Make the tables of keys and sessions."""
    op.create_table(
        "compress_key",
        sa.Column("id", sa.String(32), nullable=False),
        account(),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_compress_key"),
        sa.UniqueConstraint("digest", name="uq_compress_key_digest"),
    )
    op.create_index("ix_compress_key_account", "compress_key", ["account"])
    op.create_table(
        "compress_sign_in",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=True),
        sa.Column("proof", sa.String(64), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_compress_sign_in"),
        sa.ForeignKeyConstraint(["key_id"], ["compress_key.id"], name="fk_compress_sign_in_key_id"),
    )


def account() -> sa.Column:
    """Make the column that says whose row it is."""
    return sa.Column("account", sa.String(50), nullable=False, server_default="")
