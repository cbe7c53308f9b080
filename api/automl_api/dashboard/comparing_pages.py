"""The pages on which jobs and policies are compared."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from automl_api.dashboard.compare_view import compare_view
from automl_api.dashboard.policy_diff import policy_diff
from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.service import ServiceDependency
from automl_compress.core import Metric

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/compare")
def get_comparison(
    request: Request,
    service: ServiceDependency,
    job: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006 - FastAPI copies it
    metric: Metric | None = None,
) -> Response:
    """Show jobs side by side."""
    if not job:
        return render_page(request, "compare_none.html")
    with service.database.reading() as session:
        view = compare_view(session, job, metric)
    return render_page(request, "compare.html", view=view)


@router.get("/policies/{policy_id}/diff")
def get_policy_diff(
    policy_id: str,
    request: Request,
    service: ServiceDependency,
    other: Annotated[str, Query(max_length=64)],
) -> Response:
    """Show two policies side by side."""
    with service.database.reading() as session:
        view = policy_diff(session, policy_id, other)
    return render_page(request, "policy_diff.html", view=view)
