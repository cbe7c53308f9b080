"""`/v1/health`, `/v1/ready` and `/v1/capabilities`."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter

from automl_api.bodies import ResponseBody
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_api.system.capabilities import capabilities
from automl_compress.core.errors import AutomlCompressError

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
    quantisers: Sequence[str]
    schemes: Sequence[str]
    bit_widths: Sequence[int]
    repairs: Sequence[str]
    signals: Sequence[str]
    weights: Sequence[str]
    backends: Sequence[str]
    budget_metrics: Sequence[str]
    latency_targets: Sequence[str]
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
