"""What uncut networks scored when they were tuned like the compressed ones."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.store.tables import JobRow, JobState, Json


def confirmed_before(
    session: Session,
    dataset_id: str,
    fingerprint: Mapping[str, str],
    tuning: Mapping[str, Any],
) -> tuple[str, Json] | None:
    """Find what an earlier job measured of the same uncut network, tuned alike on the same data.

    The test split is scored once: what a job said of it, later jobs repeat.

    Args:
        session: the transaction.
        dataset_id: the data's.
        fingerprint: of `graph` and `weights`, as the model's row has it.
        tuning: all that tells one tuning from another, as the earlier job's result has it.

    Returns:
        The id of the job, and its measurements as JSON: on the `test` split, and on the `search`
        split, where the job took one. Of the first that ended; None without.
    """
    told = JobRow.spec["model"]["fingerprint"]
    query = (
        select(JobRow.id, JobRow.result)
        .where(
            JobRow.dataset_id == dataset_id,
            JobRow.state == JobState.SUCCEEDED,
            *(told[part].as_string() == found for part, found in fingerprint.items()),
        )
        .order_by(JobRow.finished_at, JobRow.id)
    )
    for job_id, result in session.execute(query):
        if result is not None and result.get("tuning") == dict(tuning):
            return job_id, {"test": result["baseline"], "search": result.get("baseline_search")}
    return None
