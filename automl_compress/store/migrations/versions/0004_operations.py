"""Workers say what they are; jobs have a priority, and count the workers that died with them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Workers of before say nothing of themselves; stored jobs have the usual priority."""
    for column in (
        sa.Column("version", sa.String(64), nullable=True),
        sa.Column("process_id", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_ahead_seconds", sa.Float(53), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
    ):
        op.add_column("compress_lease", column)
    for name in ("priority", "deaths", "events_at_death"):
        # The default stays: a worker of before goes on to write jobs until it is replaced.
        column = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column("compress_job", column)
