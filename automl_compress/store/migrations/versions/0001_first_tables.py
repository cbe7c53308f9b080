"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

IDENTIFIER, WORD, NAME, PATH = sa.String(32), sa.String(16), sa.String(255), sa.String(255)
DIGEST, KIND, OWNER = sa.String(64), sa.String(32), sa.String(255)
TIME, NUMBER, REAL = sa.DateTime(timezone=True), sa.BigInteger(), sa.Float(53)


def upgrade() -> None:
    """Make every table."""
    make_inputs()
    make_job()
    make_trials()
    make_results()
    op.create_table(
        "compress_lease",
        needed("owner", OWNER),
        needed("host", NAME),
        needed("beats", NUMBER),
        optional("reaped_by", OWNER),
        needed("renewed_at", TIME),
        sa.PrimaryKeyConstraint("owner", name="pk_compress_lease"),
    )


def make_inputs() -> None:
    """Make the tables of what users bring."""
    op.create_table(
        "compress_file",
        needed("id", IDENTIFIER),
        needed("purpose", WORD),
        needed("name", NAME),
        needed("format", KIND),
        needed("size_bytes", NUMBER),
        needed("sha256", DIGEST),
        needed("path", PATH),
        needed("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_compress_file"),
        sa.UniqueConstraint("sha256", "purpose", name="uq_compress_file_sha256_purpose"),
    )
    for table, file_column in (("model", "weights_file_id"), ("dataset", "file_id")):
        op.create_table(
            f"compress_{table}",
            needed("id", IDENTIFIER),
            needed("name", NAME),
            needed("source", sa.JSON()),
            optional(file_column, IDENTIFIER),
            needed("details", sa.JSON()),
            needed("created_at", TIME),
            sa.PrimaryKeyConstraint("id", name=f"pk_compress_{table}"),
            refers(table, file_column, "file"),
        )


def make_job() -> None:
    """Make the table of jobs."""
    columns = [
        needed("name", NAME),
        needed("model_id", IDENTIFIER),
        needed("dataset_id", IDENTIFIER),
        needed("spec", sa.JSON()),
        needed("tags", sa.JSON()),
        optional("idempotency_key", NAME),
        optional("request_digest", DIGEST),
        needed("state", WORD),
        needed("desired_state", WORD),
        optional("stop_reason", KIND),
        optional("error", sa.JSON()),
        needed("attempt", NUMBER),
        optional("owner", OWNER),
        optional("baseline", sa.JSON()),
        optional("result", sa.JSON()),
        needed("trials_done", NUMBER),
        needed("evaluations", REAL),
        needed("elapsed_seconds", REAL),
        optional("eta_seconds", REAL),
        optional("best_score", REAL),
        optional("best_number", NUMBER),
        needed("event_count", NUMBER),
        needed("history_length", NUMBER),
        needed("created_at", TIME),
        optional("started_at", TIME),
        optional("finished_at", TIME),
    ]
    op.create_table(
        "compress_job",
        needed("id", IDENTIFIER),
        *columns,
        sa.PrimaryKeyConstraint("id", name="pk_compress_job"),
        sa.UniqueConstraint("idempotency_key", name="uq_compress_job_idempotency_key"),
        refers("job", "model_id", "model"),
        refers("job", "dataset_id", "dataset"),
    )
    for column in ("model_id", "dataset_id", "state"):
        op.create_index(f"ix_compress_job_{column}", "compress_job", [column])


def make_trials() -> None:
    """Make the tables of trials, of the searcher's state and of events."""
    op.create_table(
        "compress_trial",
        needed("job_id", IDENTIFIER),
        needed("number", NUMBER, autoincrement=False),
        needed("id", IDENTIFIER),
        needed("state", WORD),
        needed("policy", sa.JSON()),
        needed("note", sa.Text()),
        optional("measurement", sa.JSON()),
        optional("score", REAL),
        optional("failure", sa.Text()),
        needed("asked_position", NUMBER),
        optional("told_position", NUMBER),
        needed("created_at", TIME),
        optional("finished_at", TIME),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_compress_trial"),
        sa.UniqueConstraint("id", name="uq_compress_trial_id"),
        refers("trial", "job_id", "job"),
    )
    op.create_index("ix_compress_trial_job_id_score", "compress_trial", ["job_id", "score"])
    op.create_table(
        "compress_snapshot",
        needed("job_id", IDENTIFIER),
        needed("position", NUMBER),
        needed("content", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("job_id", name="pk_compress_snapshot"),
        refers("snapshot", "job_id", "job"),
    )
    op.create_table(
        "compress_event",
        needed("job_id", IDENTIFIER),
        needed("seq", NUMBER, autoincrement=False),
        needed("kind", KIND),
        needed("data", sa.JSON()),
        needed("created_at", TIME),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_compress_event"),
        refers("event", "job_id", "job"),
    )


def make_results() -> None:
    """Make the tables of policies and artifacts."""
    op.create_table(
        "compress_policy",
        needed("id", IDENTIFIER),
        optional("job_id", IDENTIFIER),
        optional("trial_number", NUMBER),
        needed("document", sa.JSON()),
        needed("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_compress_policy"),
        sa.UniqueConstraint(
            "job_id", "trial_number", name="uq_compress_policy_job_id_trial_number"
        ),
        refers("policy", "job_id", "job"),
    )
    op.create_index("ix_compress_policy_job_id", "compress_policy", ["job_id"])
    op.create_table(
        "compress_artifact",
        needed("id", IDENTIFIER),
        needed("job_id", IDENTIFIER),
        needed("name", NAME),
        needed("kind", KIND),
        needed("media_type", sa.String(64)),
        needed("size_bytes", NUMBER),
        needed("sha256", DIGEST),
        needed("path", PATH),
        needed("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_compress_artifact"),
        sa.UniqueConstraint("job_id", "name", name="uq_compress_artifact_job_id_name"),
        refers("artifact", "job_id", "job"),
    )


def needed(name: str, kind: sa.types.TypeEngine, **options: bool) -> sa.Column:
    """Make a column that always has a value."""
    return sa.Column(name, kind, nullable=False, **options)


def optional(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    """Make a column that may be empty."""
    return sa.Column(name, kind, nullable=True)


def refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    """Make a foreign key to another table's id."""
    name = f"fk_compress_{table}_{column}"
    return sa.ForeignKeyConstraint([column], [f"compress_{target}.id"], name=name)
