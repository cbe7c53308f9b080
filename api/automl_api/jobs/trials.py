"""`/v1/jobs/{id}/trials` and `/v1/trials/{id}`."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from automl_api.jobs.schemas import TrialBody, trial_body
from automl_api.pages import Limit, Listing, listing
from automl_api.service import ServiceDependency
from automl_compress.core import TrialState
from automl_compress.store import Page, TrialRow, browsing, sorted_pages
from automl_compress.store import jobs as job_rows
from automl_compress.store import trials as trial_rows

router = APIRouter(tags=["trials"])

TrialOrder = Annotated[
    str,
    Query(
        pattern=f"^-?({'|'.join(browsing.TRIAL_COLUMNS)})$",
        description="By this column; with `-` before it falling. Those without a value come last.",
    ),
]


@router.get("/v1/jobs/{job_id}/trials")
def list_trials(
    job_id: str,
    service: ServiceDependency,
    state: TrialState | None = None,
    sort: TrialOrder = "number",
    after: Annotated[
        int | None, Query(ge=-1, lt=2**63, description="The last number seen.")
    ] = None,
    limit: Limit = 50,
) -> Listing[TrialBody]:
    """List a job's trials, by number unless another order is wanted."""
    with service.database.reading() as session:
        job_rows.get(session, job_id)
        page = _page(session, job_id, state, sort, after, limit)
    filters = {"state": state, "sort": None if sort == "number" else sort, "limit": limit}
    return listing(page, trial_body, f"/v1/jobs/{job_id}/trials", filters, key="number")


def _page(
    session: Session,
    job_id: str,
    state: TrialState | None,
    sort: str,
    after: int | None,
    limit: int,
) -> Page[TrialRow]:
    if sort == "number":
        states = () if state is None else (state,)
        start = -1 if after is None else after
        return trial_rows.page(session, job_id, after=start, limit=limit, states=states)
    criteria = () if state is None else (TrialRow.state == state,)
    column, is_falling = sort.removeprefix("-"), sort.startswith("-")
    return sorted_pages.trials(
        session, job_id, after, *criteria, limit=limit, column=column, is_falling=is_falling
    )


@router.get("/v1/trials/{trial_id}")
def get_trial(trial_id: str, service: ServiceDependency) -> TrialBody:
    """Describe one trial."""
    with service.database.reading() as session:
        return trial_body(trial_rows.get(session, trial_id))
