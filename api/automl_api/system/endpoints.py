"""`/v1/health`, `/v1/ready`, `/v1/capabilities` and the page at `/`."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from automl_api.bodies import ResponseBody
from automl_api.jobs.schemas import job_body
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_api.system.capabilities import capabilities
from automl_api.system.page import render_jobs
from automl_compress.core.errors import AutomlCompressError
from automl_compress.store import jobs as job_rows

_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

router = APIRouter(tags=["system"])


class HealthBody(ResponseBody):
    """The process answers."""

    status: str = "ok"
    version: str


class LimitsBody(ResponseBody):
    """What one request may ask for."""

    max_upload_bytes: int
    largest_page: int


class CapabilitiesBody(ResponseBody):
    """What this service offers; names are those that other requests take."""

    searchers: Sequence[Mapping[str, Any]]
    criteria: Sequence[str]
    schemes: Sequence[str]
    repairs: Sequence[str]
    signals: Sequence[str]
    budget_metrics: Sequence[str]
    architectures: Sequence[Mapping[str, Any]]
    datasets: Sequence[str]
    file_formats: Sequence[str]
    limits: LimitsBody
    versions: Mapping[str, str]


@router.get("/v1/health")
def get_health() -> HealthBody:
    """Say that the process answers."""
    from automl_compress import __version__

    return HealthBody(version=__version__)


@router.get("/v1/ready")
def get_ready(service: ServiceDependency) -> HealthBody:
    """Say that the database answers, too, and has the tables of this version."""
    try:
        service.database.check()
    except AutomlCompressError as error:
        raise Problem(503, "unavailable", str(error), headers={"Retry-After": "5"}) from error
    return get_health()


@router.get("/v1/capabilities")
def get_capabilities(service: ServiceDependency) -> CapabilitiesBody:
    """Say which searchers, networks, data, limits and versions there are."""
    return CapabilitiesBody.model_validate(capabilities(service.settings.max_upload_bytes))


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def get_page(service: ServiceDependency) -> Response:
    """Show the latest jobs; the page loads itself again."""
    with service.database.reading() as session:
        rows = job_rows.page(session, limit=50).rows
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(render_jobs([job_body(row) for row in rows]), headers=headers)
