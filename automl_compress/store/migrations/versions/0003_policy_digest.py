"""Trials are found by their policy."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Stored trials keep an empty digest: nothing is answered from them."""
    op.add_column("compress_trial", sa.Column("policy_digest", sa.String(64), nullable=True))
    op.create_index("ix_compress_trial_policy_digest", "compress_trial", ["policy_digest"])
