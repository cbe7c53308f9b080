"""Files that jobs made: the compressed network, the policy, the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store.artifact_files import WrittenFile
from automl_compress.store.ids import new_id
from automl_compress.store.paging import Page, page_of
from automl_compress.store.states import JobKind
from automl_compress.store.tables import ArtifactRow, JobRow, Json, PolicyRow


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """What an artifact is."""

    job_id: str
    name: str  # file name, unique within the job
    kind: str  # network, policy, card, packed, report, checkpoint, or a format for engines
    media_type: str


def put(session: Session, new: NewArtifact, written: WrittenFile) -> ArtifactRow:
    """Store an artifact's row; one of the same job and name is replaced under its id."""
    query = select(ArtifactRow).where(
        ArtifactRow.job_id == new.job_id, ArtifactRow.name == new.name
    )
    row = session.scalars(query).one_or_none()
    if row is None:
        row = ArtifactRow(id=new_id("art"), job_id=new.job_id, name=new.name)
        session.add(row)
    row.kind, row.media_type = new.kind, new.media_type
    row.removed_at = None
    row.size_bytes, row.sha256, row.path = written.size_bytes, written.sha256, written.path
    session.flush()
    return row


def get(session: Session, artifact_id: str) -> ArtifactRow:
    """Return an artifact's row.

    Raises:
        NotFound: no artifact has this id.
    """
    row = session.get(ArtifactRow, artifact_id)
    if row is None:
        raise NotFound(
            f"no artifact has the id {artifact_id!r}; GET /v1/jobs/{{id}} lists a job's artifacts"
        )
    return row


def page(
    session: Session,
    *,
    after: str | None = None,
    limit: int = 50,
    job_id: str | None = None,
    kind: str | None = None,
) -> Page[ArtifactRow]:
    """Return artifacts, the newest first, behind the artifact `after`; of a job or kind alone."""
    where: list[ColumnElement[bool]] = []
    if job_id is not None:
        where.append(ArtifactRow.job_id == job_id)
    if kind is not None:
        where.append(ArtifactRow.kind == kind)
    return page_of(session, ArtifactRow, ArtifactRow.id, where, after=after, limit=limit)


def stored_bytes(session: Session, account: str) -> int:
    """Return how many bytes the artifacts of an account's jobs take."""
    query = select(func.sum(ArtifactRow.size_bytes)).join(JobRow, JobRow.id == ArtifactRow.job_id)
    there = query.where(JobRow.account == account, ArtifactRow.removed_at.is_(None))
    return int(session.scalar(there) or 0)


def of_job(session: Session, job_id: str) -> Sequence[ArtifactRow]:
    """Return a job's artifacts by name."""
    query = select(ArtifactRow).where(ArtifactRow.job_id == job_id).order_by(ArtifactRow.name)
    return session.scalars(query).all()


def of_content(session: Session, job_id: str, sha256: str) -> ArtifactRow | None:
    """Return a job's artifact of this digest, in hexadecimal; None where it has none."""
    query = select(ArtifactRow).where(ArtifactRow.job_id == job_id, ArtifactRow.sha256 == sha256)
    return session.scalars(query.order_by(ArtifactRow.id).limit(1)).one_or_none()


def of_policy(session: Session, policy: PolicyRow) -> Sequence[ArtifactRow]:
    """Return what there is of a policy's files: of the job that found it, then of its exports.

    What was removed is left out.
    """
    exports = select(JobRow.id).where(JobRow.policy_id == policy.id, JobRow.kind == JobKind.EXPORT)
    query = select(ArtifactRow).where(ArtifactRow.job_id.in_(exports)).order_by(ArtifactRow.id)
    made = list(session.scalars(query))
    if policy.job_id is not None:
        names = _names_of(session.get(JobRow, policy.job_id), policy.id)
        made = [row for row in of_job(session, policy.job_id) if row.name in names] + made
    return [row for row in made if row.removed_at is None]


def _names_of(job: JobRow | None, policy_id: str) -> set[str]:
    """Return the names of a policy's files, as its job's result tells them."""
    result: Json = (job and job.result) or {}
    found = [each for each in result.get("policies", ()) if each["policy_id"] == policy_id]
    return {name for each in found for name in each["artifacts"]}
