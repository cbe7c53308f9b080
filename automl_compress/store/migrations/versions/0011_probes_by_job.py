"""An index of the probes alone: a search has few of them among its trials."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    is_probe = sa.text("role = 'probe'")
    op.create_index(
        "ix_compress_trial_probes",
        "compress_trial",
        ["job_id", "number"],
        sqlite_where=is_probe,
        postgresql_where=is_probe,
    )
