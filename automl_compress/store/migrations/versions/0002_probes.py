"""Trials that measure on a subset, and probes that cannot win."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every stored trial was a candidate on all images."""
    role = sa.Column("role", sa.String(16), nullable=False, server_default="candidate")
    with op.batch_alter_table("compress_trial") as table:
        table.add_column(role)
        table.add_column(sa.Column("images", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("compress_trial") as table:
        table.alter_column("role", server_default=None)
