"""Jobs that score a policy on other data; artifacts whose bytes are gone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is stored already are searches, and files that are there."""
    op.add_column("compress_job", sa.Column("policy_id", sa.String(32), nullable=True))
    op.create_index("ix_compress_job_policy_id", "compress_job", ["policy_id"])
    removed = sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("compress_artifact", removed)
