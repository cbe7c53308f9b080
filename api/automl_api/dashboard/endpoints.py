"""The pages: jobs, one job, a new search, one policy; those of other modules hang below."""

import json
from importlib.resources import files
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse

from automl_api.dashboard import comparing_pages, registered_pages, system_pages
from automl_api.dashboard.addresses import Addresses
from automl_api.dashboard.job_view import Table, job_view
from automl_api.dashboard.policy_view import policy_view
from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.dashboard.sensitivity_view import sensitivity_view
from automl_api.datasets.schemas import dataset_body
from automl_api.jobs.layer_sensitivity import layer_sensitivity
from automl_api.jobs.schemas import job_body
from automl_api.models.schemas import model_body
from automl_api.service import ServiceDependency
from automl_api.system.capabilities import capabilities
from automl_compress.core.errors import InvalidInput
from automl_compress.store import JobKind, JobState, browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store import targets as target_rows
from automl_compress.store.browsing import JobFilter
from automl_compress.store.paging import LARGEST_PAGE

_LABELS = {"number": "Trial", "macs": "MACs", "size_bytes": "Bytes", "latency_ns": "Latency, ns"}
TRIAL_COLUMNS = tuple(
    (name, _LABELS.get(name, name.replace("_", " ").capitalize()))
    for name in browsing.TRIAL_COLUMNS
)

EXAMPLE = {
    "name": "resnet-20-digits",
    "architecture": "resnet-20",
    "config": {"in_channels": 1, "num_classes": 10, "image_size": 8},
}

PageNumber = Annotated[int, Query(ge=1, le=10**6)]
Sort = Annotated[str, Query(max_length=40)]
Order = Literal["asc", "desc"]

router = APIRouter(route_class=PageRoute, include_in_schema=False)
for pages in (registered_pages, comparing_pages, system_pages):
    router.include_router(pages.router)


@router.get("/")
def get_jobs(
    request: Request,
    service: ServiceDependency,
    status: Annotated[str, Query(max_length=40)] = "",
    text: Annotated[str, Query(max_length=200)] = "",
    sort: Sort = "created",
    order: Order = "desc",
    page: PageNumber = 1,
) -> Response:
    """Show the jobs, the newest first unless another order is wanted."""
    states = _states(status)
    with service.database.reading() as session:
        wanted = JobFilter(states, text, kind=JobKind.SEARCH)  # policies show their evaluations
        found = browsing.jobs(session, wanted, column=sort, is_falling=order == "desc", number=page)
        jobs = [job_body(row) for row in found.rows]
    addresses = Addresses(sort, order == "desc", {"status": status, "text": text})
    return render_page(
        request,
        "jobs.html",
        jobs=jobs,
        page=found,
        addresses=addresses,
        states=[each.value for each in JobState],
        status=status,
        text=text,
    )


def _states(told: str) -> list[JobState]:
    """Read a state to filter by; none is every one."""
    if told and told not in list(JobState):
        raise InvalidInput(
            f"no job is ever {told!r}; a state is one of: {', '.join(JobState)}; leave it out to "
            "see all jobs"
        )
    return [JobState(told)] if told else []


@router.get("/jobs/{job_id}")
def get_job(
    job_id: str,
    request: Request,
    service: ServiceDependency,
    sort: Sort = "number",
    order: Order = "desc",
    page: PageNumber = 1,
    trial: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    x_part: Annotated[str | None, Header()] = None,
) -> Response:
    """Show one job; with `X-Part: live` without what is expensive and does not change.

    What works on a policy is shown on the page of that, a confirmation on that of its search.
    """
    table = Table(sort, order == "desc", page, trial)
    with service.database.reading() as session:
        row = job_rows.get(session, job_id)
        if row.policy_id is not None:
            place = "apply-title" if row.kind is JobKind.EXPORT else "evaluations-title"
            return RedirectResponse(f"../policies/{row.policy_id}#{place}", 303)
        if row.search_id is not None:
            number = row.spec["confirmation"]["trial_number"]
            return RedirectResponse(f"{row.search_id}?trial={number}#results-title", 303)
        model = model_rows.get(session, row.model_id)  # large; held, it is read once
        view = job_view(session, job_id, table)
        is_whole = x_part != "live"
        sensitivity = sensitivity_view(session, model, row.data_id) if is_whole else None
        layers = layer_sensitivity(session, job_id) if is_whole else None
    addresses = Addresses(sort, table.is_falling, {} if trial is None else {"trial": trial})
    return render_page(
        request,
        "job.html",
        view=view,
        columns=[
            each
            for each in TRIAL_COLUMNS
            if each[0] != "latency_ns" or view.job.study.get("target")
        ],
        sensitivity=sensitivity,
        layers=layers,
        study=json.dumps(view.job.study, indent=2),
        problem=json.dumps(view.job.error, indent=2),
        addresses=addresses,
    )


@router.get("/new")
def get_new_search(request: Request, service: ServiceDependency) -> Response:
    """Show the form that submits a search."""
    offered = capabilities(service.settings.max_upload_bytes)
    with service.database.reading() as session:
        models = model_rows.page(session, limit=LARGEST_PAGE).rows
        datasets = dataset_rows.page(session, limit=LARGEST_PAGE).rows
        targets = target_rows.page(session, limit=LARGEST_PAGE).rows
    return render_page(
        request,
        "new.html",
        # What a worker measured, another measures or finds again by itself.
        brought_targets=[row for row in targets if row.graph_fingerprint is None],
        models=[model_body(row) for row in models],
        datasets=[dataset_body(row) for row in datasets],
        offered=offered,
        example=EXAMPLE,
    )


@router.get("/example.safetensors")
def get_example() -> Response:
    """Give the trained weights of the network that a first search can be tried on."""
    weights = files("automl_compress") / "networks" / "weights" / f"{EXAMPLE['name']}.safetensors"
    return Response(weights.read_bytes(), media_type="application/octet-stream")


@router.get("/policies/{policy_id}")
def get_policy(policy_id: str, request: Request, service: ServiceDependency) -> Response:
    """Show what a policy does to each layer, and how to apply it."""
    with service.database.reading() as session:
        view = policy_view(session, policy_id)
    return render_page(request, "policy.html", view=view)
