"""The pages of the service itself, and of its interface."""

from fastapi import APIRouter, Request, Response

from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.dashboard.system_view import system_view
from automl_api.service import ServiceDependency

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/system")
def get_system(request: Request, service: ServiceDependency) -> Response:
    """Show workers, queue and versions."""
    return render_page(request, "system.html", view=system_view(service))


@router.get("/docs")
def get_docs(request: Request) -> Response:
    """Show every operation of the interface."""
    return render_page(request, "docs.html")
