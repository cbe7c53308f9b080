"""Policy documents; written once, never changed."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound, WrongState
from automl_compress.store import jobs
from automl_compress.store.accounts import account_of
from automl_compress.store.ids import new_id
from automl_compress.store.paging import Page, page_of
from automl_compress.store.tables import Json, PolicyRow


def add(
    session: Session,
    document: Json,
    *,
    job_id: str | None = None,
    trial_number: int | None = None,
    policy_id: str | None = None,
    model_id: str | None = None,
) -> PolicyRow:
    """Store a document; storing a trial's document again gives the row that is there.

    Args:
        session: the transaction.
        document: the whole document.
        job_id: the job that found it; None for a document that a user brought.
        trial_number: which of the job's trials it is.
        policy_id: an id that the document already carries; None makes one.
        model_id: of the network; that of the job, where there is one.

    Raises:
        WrongState: the trial has another document; documents never change.
    """
    existing = _of_trial(session, job_id, trial_number)
    if existing is not None:
        if existing.document != document:
            raise WrongState(
                f"trial {trial_number} of job {job_id} already has the policy document "
                f"{existing.id}; a stored document never changes"
            )
        return existing
    row = PolicyRow(
        id=policy_id or new_id("pol"),
        job_id=job_id,
        trial_number=trial_number,
        model_id=model_id,
        digest=document.get("digest"),
        document=document,
    )
    if job_id is not None:  # whoever stores it, it is whose the job is
        job = jobs.get(session, job_id)
        row.account, row.model_id = job.account, job.model_id
    session.add(row)
    session.flush()
    return row


def _of_trial(session: Session, job_id: str | None, number: int | None) -> PolicyRow | None:
    if job_id is None or number is None:
        return None
    query = select(PolicyRow).where(PolicyRow.job_id == job_id, PolicyRow.trial_number == number)
    return session.scalars(query).one_or_none()


def brought(session: Session, model_id: str, digest: str) -> PolicyRow | None:
    """Return the account's policy of this document for a network, found or brought."""
    query = select(PolicyRow).where(
        PolicyRow.account == account_of(session).name,
        PolicyRow.model_id == model_id,
        PolicyRow.digest == digest,
    )
    return session.scalars(query.order_by(PolicyRow.id).limit(1)).one_or_none()


def bring(
    session: Session, model_id: str, document: Json, weights_file_id: str | None = None
) -> PolicyRow:
    """Store a document that a user brought, or return the row of the account that has it.

    A row that lacks the network's weights takes those that come now.
    """
    there = brought(session, model_id, document["digest"])
    row = there or add(session, document, model_id=model_id)
    if row.job_id is None and row.weights_file_id is None:
        row.weights_file_id = weights_file_id
    session.flush()
    return row


def get(session: Session, policy_id: str) -> PolicyRow:
    """Return a policy document.

    Raises:
        NotFound: no policy has this id.
    """
    row = session.get(PolicyRow, policy_id)
    if row is None:
        raise NotFound(
            f"no policy has the id {policy_id!r}; GET /v1/jobs/{{id}}/best names a job's policy"
        )
    return row


def lock(session: Session, policy_id: str) -> None:
    """Keep others from locking a policy until the transaction ends; raises nothing."""
    session.get(PolicyRow, policy_id, with_for_update=True, populate_existing=True)


def page(
    session: Session,
    *,
    after: str | None = None,
    limit: int = 50,
    job_id: str | None = None,
    model_id: str | None = None,
) -> Page[PolicyRow]:
    """Return policy documents, the newest first, behind `after`; of one job or network alone."""
    told = ((PolicyRow.job_id, job_id), (PolicyRow.model_id, model_id))
    where = [column == value for column, value in told if value is not None]
    return page_of(session, PolicyRow, PolicyRow.id, where, after=after, limit=limit)


def of_job(session: Session, job_id: str) -> Sequence[PolicyRow]:
    """Return a job's policy documents in the order in which they were stored."""
    query = select(PolicyRow).where(PolicyRow.job_id == job_id).order_by(PolicyRow.id)
    return session.scalars(query).all()
