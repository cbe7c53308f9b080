"""The pages of what is registered: networks and data sets."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from automl_api.dashboard.dataset_view import dataset_view
from automl_api.dashboard.model_view import model_view
from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.dashboard.sample_images import samples
from automl_api.datasets.schemas import dataset_body
from automl_api.models.schemas import model_body
from automl_api.service import ServiceDependency
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import models as model_rows

router = APIRouter(route_class=PageRoute, include_in_schema=False)

After = Annotated[str | None, Query(max_length=64)]


@router.get("/models")
def get_models(request: Request, service: ServiceDependency, after: After = None) -> Response:
    """Show the networks, the newest first."""
    with service.database.reading() as session:
        page = model_rows.page(session, after=after)
        models = [model_body(row) for row in page.rows]
    return render_page(request, "models.html", models=models, page=page, after=after)


@router.get("/models/{model_id}")
def get_model(model_id: str, request: Request, service: ServiceDependency) -> Response:
    """Show one network: what it costs, what can be cut of it and what not."""
    with service.database.reading() as session:
        view = model_view(session, model_id)
    return render_page(request, "model.html", view=view)


@router.get("/datasets")
def get_datasets(request: Request, service: ServiceDependency, after: After = None) -> Response:
    """Show the data sets, the newest first."""
    with service.database.reading() as session:
        page = dataset_rows.page(session, after=after)
        datasets = [dataset_body(row) for row in page.rows]
    return render_page(request, "datasets.html", datasets=datasets, page=page, after=after)


@router.get("/datasets/{dataset_id}")
def get_dataset(dataset_id: str, request: Request, service: ServiceDependency) -> Response:
    """Show one data set; its images come by a page of their own, which takes seconds."""
    with service.database.reading() as session:
        view = dataset_view(session, dataset_id)
    return render_page(request, "dataset.html", view=view, samples=None)


@router.get("/datasets/{dataset_id}/images")
def get_images(dataset_id: str, request: Request, service: ServiceDependency) -> Response:
    """Show one data set with some of its training images."""
    with service.database.reading() as session:
        view = dataset_view(session, dataset_id)
        row = dataset_rows.get(session, dataset_id)
    return render_page(request, "dataset.html", view=view, samples=samples(service, row))
