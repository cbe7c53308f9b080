"""The reports that lie in bundles."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store import JobRow, PolicyRow, jobs


def bundle_report(
    session: Session, job: JobRow, trial_number: int, result: Mapping[str, Any] | None
) -> bytes | None:
    """Return the report of the search that a confirmed policy is of.

    Args:
        session: the transaction.
        job: the search itself, or a confirmation of one of its trials.
        trial_number: the trial's.
        result: what the job ends with, as `report_of_policy` takes it.

    Returns:
        HTML; None where the search, or its trial, is gone.
    """
    # The pages' libraries, which nothing else in a worker needs.
    from automl_api.dashboard.report_file import report_of_policy

    try:
        text = report_of_policy(session, job.search_id or job.id, trial_number, result)
    except NotFound:
        return None
    return text.encode()


def report_of(session: Session, policy: PolicyRow) -> bytes | None:
    """Return the report for a stored policy's bundle; None where no job of ours found it.

    What a brought document says of its job is no reason to tell of that job.
    """
    if policy.job_id is None or policy.trial_number is None:
        return None
    job = jobs.get(session, policy.job_id)
    return bundle_report(session, job, policy.trial_number, job.result)
