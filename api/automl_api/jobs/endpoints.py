"""`/v1/jobs`."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from automl_api.caching import document_response
from automl_api.jobs.best import best_policy
from automl_api.jobs.requests import NewJobBody
from automl_api.jobs.schemas import JobBody, job_body
from automl_api.jobs.submission import submit
from automl_api.pages import After, Limit, Listing, listing
from automl_api.service import Service, ServiceDependency
from automl_compress.store import JobState
from automl_compress.store import jobs as job_rows

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="A second request with this key and the same body gives the same job.",
    ),
]


@router.post("", status_code=202)
def create_job(
    new: NewJobBody,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> JobBody:
    """Put a search into the queue.

    It is checked against the model and its space: a budget that no policy can meet is refused
    here, with the smallest cost that can be reached.
    """
    row = submit(service, new, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return _job(service, row.id)


@router.get("")
def list_jobs(
    service: ServiceDependency,
    status: JobState | None = None,
    model_id: Annotated[str | None, Query(max_length=64)] = None,
    after: After = None,
    limit: Limit = 50,
) -> Listing[JobBody]:
    """List the jobs, the newest first."""
    states = () if status is None else (status,)
    with service.database.reading() as session:
        page = job_rows.page(session, after=after, limit=limit, states=states, model_id=model_id)
    filters = {"status": status, "model_id": model_id, "limit": limit}
    return listing(page, job_body, "/v1/jobs", filters)


@router.get("/{job_id}")
def get_job(job_id: str, service: ServiceDependency) -> JobBody:
    """Describe one job: its progress, the best so far, the time left."""
    return _job(service, job_id)


@router.post("/{job_id}/cancel", status_code=202)
def cancel_job(job_id: str, service: ServiceDependency) -> JobBody:
    """End a job for good; repeating is harmless."""
    service.queue.cancel(job_id)
    return _job(service, job_id)


@router.post("/{job_id}/pause", status_code=202)
def pause_job(job_id: str, service: ServiceDependency) -> JobBody:
    """Stop a job until it is resumed; repeating is harmless."""
    service.queue.pause(job_id)
    return _job(service, job_id)


@router.post("/{job_id}/resume", status_code=202)
def resume_job(job_id: str, service: ServiceDependency) -> JobBody:
    """Go on with a paused job; repeating is harmless."""
    service.queue.resume(job_id)
    return _job(service, job_id)


@router.get("/{job_id}/best")
def get_best(
    job_id: str,
    request: Request,
    service: ServiceDependency,
    max_macs_ratio: Annotated[float | None, Query(gt=0, le=1)] = None,
) -> Response:
    """Give the best policy document that keeps at most this share of the MACs."""
    with service.database.reading() as session:
        row = best_policy(session, job_rows.get(session, job_id), max_macs_ratio)
    # Another policy may become the best one, so the client asks again each time.
    return document_response(request, row.document, "no-cache")


def _job(service: Service, job_id: str) -> JobBody:
    with service.database.reading() as session:
        return job_body(job_rows.get(session, job_id))
