"""The GPU that a worker has, by name."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; workers that run have none that they told of."""
    op.add_column("compress_lease", sa.Column("gpu", sa.String(255), nullable=True))
