"""`/v1/jobs`."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from automl_api.caching import ASKED_AGAIN, TAGGED, IfNoneMatch, document_response, unless_known
from automl_api.jobs.best import best_policy
from automl_api.jobs.requests import NewJobBody
from automl_api.jobs.schemas import JobBody, job_body
from automl_api.jobs.steering import described
from automl_api.jobs.submission import submit
from automl_api.jobs.waiting import Prefer, seconds_of, until_ended
from automl_api.once import IdempotencyKey
from automl_api.pages import After, Limit, Listing, listing
from automl_api.policies.document_schema import DOCUMENT
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.core import Metric
from automl_compress.store import JobKind, JobRow, JobState, Page, browsing, sorted_pages
from automl_compress.store import jobs as job_rows
from automl_compress.store.browsing import JobFilter

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

NEWEST_FIRST = "-created"
JobOrder = Annotated[
    str,
    Query(
        pattern=f"^-?({'|'.join(browsing.JOB_COLUMNS)})$",
        description="By this column; with `-` before it falling. Those without a value come last.",
    ),
]
Tag = Annotated[
    list[str],
    Query(max_length=16, description="NAME:VALUE, which the job must have; may be repeated."),
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
    return described(response, service, row.id)


@router.get("")
def list_jobs(
    service: ServiceDependency,
    status: JobState | None = None,
    model_id: Annotated[str | None, Query(max_length=64)] = None,
    dataset_id: Annotated[str | None, Query(max_length=64)] = None,
    searcher: Annotated[str | None, Query(max_length=100)] = None,
    kind: JobKind | None = None,
    policy_id: Annotated[
        str | None, Query(max_length=64, description="Jobs on this policy alone.")
    ] = None,
    search_id: Annotated[
        str | None, Query(max_length=64, description="Confirmations of this search alone.")
    ] = None,
    text: Annotated[str, Query(max_length=200, description="A part of the name.")] = "",
    tag: Tag = [],  # noqa: B006 - FastAPI copies it
    sort: JobOrder = NEWEST_FIRST,
    after: After = None,
    limit: Limit = 50,
) -> Listing[JobBody]:
    """List the jobs, the newest first unless another order is wanted."""
    wanted = JobFilter(
        states=() if status is None else (status,),
        text=text,
        model_id=model_id,
        dataset_id=dataset_id,
        searcher=searcher,
        kind=kind,
        policy_id=policy_id,
        search_id=search_id,
        tags=dict(_name_and_value(each) for each in tag),
    )
    with service.database.reading() as session:
        page = _page(session, sort, after, wanted, limit)
    told = {"status": status, "model_id": model_id, "dataset_id": dataset_id, "limit": limit}
    told |= {"searcher": searcher, "kind": kind, "policy_id": policy_id}
    told |= {"search_id": search_id, "sort": None if sort == NEWEST_FIRST else sort}
    filters = {**told, "text": text or None, "tag": tag or None}
    return listing(page, job_body, "/v1/jobs", filters)


def _page(
    session: Session, sort: str, after: str | None, wanted: JobFilter, limit: int
) -> Page[JobRow]:
    if sort == NEWEST_FIRST:
        return browsing.jobs_behind(session, after, wanted, limit=limit)
    column, is_falling = sort.removeprefix("-"), sort.startswith("-")
    return sorted_pages.jobs(
        session, after, wanted, limit=limit, column=column, is_falling=is_falling
    )


def _name_and_value(tag: str) -> tuple[str, str]:
    name, separator, value = tag.partition(":")
    if not separator:
        detail = f"tag is {tag!r}; give NAME:VALUE"
        raise Problem(422, "invalid", detail, errors=[{"parameter": "tag", "detail": detail}])
    return name, value


@router.get("/{job_id}", response_model=JobBody, responses=TAGGED)
async def get_job(
    job_id: str,
    response: Response,
    service: ServiceDependency,
    prefer: Prefer = None,
    if_none_match: IfNoneMatch = None,
) -> JobBody | Response:
    """Describe one job: its progress, the best so far, the time left.

    With `Prefer: wait=SECONDS`, when it has ended or so many seconds are over.
    """
    seconds = seconds_of(prefer)
    if seconds is not None:
        await to_thread.run_sync(described, Response(), service, job_id)  # no such job: at once
        await until_ended(service.feed, job_id, seconds)
        response.headers["Preference-Applied"] = f"wait={seconds}"
    body = await to_thread.run_sync(described, response, service, job_id)
    return unless_known(if_none_match, response, body)


@router.get("/{job_id}/best", responses=DOCUMENT)
def get_best(
    job_id: str,
    service: ServiceDependency,
    max_ratio: Annotated[float | None, Query(gt=0, le=1)] = None,
    metric: Metric | None = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Give the best policy document, or the best that keeps at most this ratio.

    The ratio is of the metric; of that of the job's budget where none is told.
    """
    with service.database.reading() as session:
        row = best_policy(session, job_rows.get(session, job_id), max_ratio, metric)
    # Another policy may become the best one, so the client asks again each time.
    return document_response(if_none_match, row.document, ASKED_AGAIN)
