"""`/v1/models`."""

from fastapi import APIRouter, Response

from automl_api.intake import inspect_model
from automl_api.models.schemas import (
    ModelBody,
    ModelDetailsBody,
    NewModel,
    model_body,
    model_details_body,
)
from automl_api.pages import After, Limit, Listing, listing
from automl_api.problem import Problem
from automl_api.service import Service, ServiceDependency
from automl_api.sources import ModelSource
from automl_compress.store import files as file_rows
from automl_compress.store import models as model_rows

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post("", status_code=201)
def create_model(new: NewModel, response: Response, service: ServiceDependency) -> ModelDetailsBody:
    """Register a network: it is built, filled with its weights and traced before it is stored."""
    source = ModelSource(
        new.architecture.name, new.architecture.config, _weights_path(service, new.weights_file_id)
    )
    details = inspect_model(source, service.files.directory)
    with service.database.session() as session:
        row = model_rows.add(
            session,
            name=new.name,
            source=source.to_json(),
            weights_file_id=new.weights_file_id,
            details=details,
        )
    response.headers["Location"] = f"/v1/models/{row.id}"
    return model_details_body(row)


@router.get("")
def list_models(
    service: ServiceDependency, after: After = None, limit: Limit = 50
) -> Listing[ModelBody]:
    """List the networks, the newest first."""
    with service.database.reading() as session:
        page = model_rows.page(session, after=after, limit=limit)
    bodies = [model_body(row) for row in page.rows]
    cursor = bodies[-1].id if bodies else None
    return listing(bodies, page.has_more, "/v1/models", cursor, {"limit": limit})


@router.get("/{model_id}")
def get_model(model_id: str, service: ServiceDependency) -> ModelDetailsBody:
    """Describe one network."""
    with service.database.reading() as session:
        return model_details_body(model_rows.get(session, model_id))


def _weights_path(service: Service, file_id: str | None) -> str | None:
    if file_id is None:
        return None
    with service.database.reading() as session:
        row = file_rows.get(session, file_id)
    if row.format != "safetensors":
        detail = f"file {row.id} is {row.format}; the weights of a network are a safetensors file"
        field = {"pointer": "/weights_file_id", "detail": detail}
        raise Problem(422, "invalid-model", detail, errors=[field])
    return row.path
