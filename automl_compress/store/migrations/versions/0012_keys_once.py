"""The idempotency keys of requests that made keys: a request that is sent again makes none."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keys of before were made by requests that nobody can tell any more."""
    op.add_column("compress_key", sa.Column("idempotency_key", sa.String(255)))
    op.add_column("compress_key", sa.Column("request_digest", sa.String(64)))
    op.create_index(
        "ix_compress_key_idempotency_key", "compress_key", ["idempotency_key"], unique=True
    )
