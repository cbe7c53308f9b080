"""Jobs that need no data: exports."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Jobs of before keep their data."""
    # SQLite makes the table anew, for which foreign keys must be off: the caller sees to it.
    with op.batch_alter_table("compress_job") as jobs:
        jobs.alter_column("dataset_id", existing_type=sa.String(32), nullable=True)
