"""Jobs of more kinds than can be told from what they work on; confirmations of further trials."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What names a policy was an evaluation."""
    kind = sa.Column("kind", sa.String(16), nullable=False, server_default="search")
    op.add_column("compress_job", kind)
    op.execute("UPDATE compress_job SET kind = 'evaluation' WHERE policy_id IS NOT NULL")
    op.add_column("compress_job", sa.Column("search_id", sa.String(32), nullable=True))
    op.create_index("ix_compress_job_search_id", "compress_job", ["search_id"])
