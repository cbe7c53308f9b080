"""`/v1/jobs/{id}/trials` and `/v1/trials/{id}`."""

from typing import Annotated

from fastapi import APIRouter, Query

from automl_api.jobs.schemas import TrialBody, trial_body
from automl_api.pages import Limit, Listing, listing
from automl_api.service import ServiceDependency
from automl_compress.core import TrialState
from automl_compress.store import jobs as job_rows
from automl_compress.store import trials as trial_rows

router = APIRouter(tags=["trials"])


@router.get("/v1/jobs/{job_id}/trials")
def list_trials(
    job_id: str,
    service: ServiceDependency,
    state: TrialState | None = None,
    after: Annotated[int, Query(ge=-1, lt=2**63, description="The last number seen.")] = -1,
    limit: Limit = 50,
) -> Listing[TrialBody]:
    """List a job's trials by number."""
    states = () if state is None else (state,)
    with service.database.reading() as session:
        job_rows.get(session, job_id)
        page = trial_rows.page(session, job_id, after=after, limit=limit, states=states)
    filters = {"state": state, "limit": limit}
    return listing(page, trial_body, f"/v1/jobs/{job_id}/trials", filters, key="number")


@router.get("/v1/trials/{trial_id}")
def get_trial(trial_id: str, service: ServiceDependency) -> TrialBody:
    """Describe one trial."""
    with service.database.reading() as session:
        return trial_body(trial_rows.get(session, trial_id))
