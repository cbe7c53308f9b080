"""`/v1/compare`: jobs side by side, as their page shows them."""

from typing import Annotated

from fastapi import APIRouter, Query

from automl_api.dashboard.compare_view import MOST_JOBS, CompareView, compare_view
from automl_api.service import ServiceDependency
from automl_compress.core import Metric

router = APIRouter(prefix="/v1/compare", tags=["jobs"])


@router.get("")
def compare_jobs(
    service: ServiceDependency,
    job: Annotated[
        list[str], Query(min_length=1, max_length=MOST_JOBS, description="An id; may be repeated.")
    ],
    metric: Metric | None = None,
) -> CompareView:
    """Give the joint front of jobs, their spread over seeds, and where they differ.

    Accuracies compare where `is_same_data`, costs where `is_same_network`.
    """
    with service.database.reading() as session:
        return compare_view(session, job, metric)
