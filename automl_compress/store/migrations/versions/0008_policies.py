"""Policies that users bring: they belong to an account, and name their network themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Stored policies belong to whom their jobs belong, and are for the network of these."""
    table = "compress_policy"
    account = sa.Column("account", sa.String(50), nullable=False, server_default="")
    op.add_column(table, account)
    op.add_column(table, sa.Column("model_id", sa.String(32), nullable=True))
    op.add_column(table, sa.Column("weights_file_id", sa.String(32), nullable=True))
    op.add_column(table, sa.Column("digest", sa.String(80), nullable=True))
    for column in ("account", "model_id", "digest"):
        op.create_index(f"ix_{table}_{column}", table, [column])
    job = "FROM compress_job WHERE compress_job.id = compress_policy.job_id"
    op.execute(
        f"UPDATE {table} SET account = (SELECT account {job}), model_id = (SELECT model_id {job}) "
        "WHERE job_id IS NOT NULL"
    )
    policy = sa.table(table, sa.column("digest", sa.String), sa.column("document", sa.JSON))
    op.execute(policy.update().values(digest=policy.c.document["digest"].as_string()))
