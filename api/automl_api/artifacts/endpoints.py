"""`/v1/artifacts`."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from automl_api.artifacts.ranged import RANGED, IfRange, Range, RangedFile
from automl_api.bodies import Moment, ResponseBody
from automl_api.caching import ASKED_AGAIN, IfNoneMatch, entity_tag, is_known
from automl_api.files.digests import digest_header
from automl_api.pages import After, Limit, Listing, listing
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.store import ArtifactRow
from automl_compress.store import artifacts as artifact_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store.retention import removal_moment

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])


class ArtifactBody(ResponseBody):
    """A file that a job made: the compressed network, the policy, the report.

    expires: when its bytes are removed; null for never. removed: since when they are gone.
    """

    id: str
    job_id: str
    name: str
    kind: str
    media_type: str
    size_bytes: int
    sha256: str
    created: Moment
    expires: Moment | None
    removed: Moment | None


@router.get("")
def list_artifacts(
    service: ServiceDependency,
    job_id: Annotated[str | None, Query(max_length=64, description="Of this job alone.")] = None,
    kind: Annotated[str | None, Query(max_length=32, description="Of this kind alone.")] = None,
    after: After = None,
    limit: Limit = 50,
) -> Listing[ArtifactBody]:
    """List the files that jobs made, the newest first."""
    with service.database.reading() as session:
        if job_id is not None:
            job_rows.get(session, job_id)
        page = artifact_rows.page(session, after=after, limit=limit, job_id=job_id, kind=kind)
    filters = {"job_id": job_id, "kind": kind, "limit": limit}
    days = service.settings.artifact_days
    return listing(page, lambda row: artifact_body(row, days), "/v1/artifacts", filters)


@router.get("/{artifact_id}")
def get_artifact(artifact_id: str, service: ServiceDependency) -> ArtifactBody:
    """Describe one file."""
    with service.database.reading() as session:
        return artifact_body(
            artifact_rows.get(session, artifact_id), service.settings.artifact_days
        )


@router.get("/{artifact_id}/content", response_class=RangedFile, responses=RANGED)
def get_content(
    artifact_id: str,
    service: ServiceDependency,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
    if_range: IfRange = None,
) -> Response:
    """Give the bytes of a file, or a `Range` of them; `HEAD` tells how many there are."""
    with service.database.reading() as session:
        row = artifact_rows.get(session, artifact_id)
    if row.removed_at is not None:
        raise Problem(
            404,
            "expired",
            f"the bytes of artifact {row.id} ({row.name}) were removed on "
            f"{row.removed_at:%Y-%m-%d}, as this service keeps networks for "
            f"{service.settings.artifact_days} days; clone job {row.job_id} to make them again",
        )
    path = service.files.path_of(row.path)
    if not path.is_file():
        raise Problem(
            404,
            "not-found",
            f"the bytes of artifact {row.id} ({row.name}) are gone from the data directory; they "
            "were removed by hand, or the service runs with another AUTOML_COMPRESS_DATA_DIR",
        )
    headers = {
        "ETag": entity_tag(row.sha256),
        "Cache-Control": ASKED_AGAIN,
        "Repr-Digest": digest_header(row.sha256),
    }
    if is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return RangedFile(path, media_type=row.media_type, filename=row.name, headers=headers)


def artifact_body(row: ArtifactRow, days: float | None = None) -> ArtifactBody:
    """Describe an artifact's row; days: for which the operator keeps networks."""
    return ArtifactBody(
        id=row.id,
        job_id=row.job_id,
        name=row.name,
        kind=row.kind,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created=row.created_at,
        expires=removal_moment(row, days),
        removed=row.removed_at,
    )
