"""`/v1/models`."""

from fastapi import APIRouter, Request, Response

from automl_api.caching import TAGGED, IfNoneMatch, unless_known
from automl_api.files.uploaded import uploaded_path
from automl_api.intake import inspect_model
from automl_api.models.schemas import (
    ModelBody,
    ModelDetailsBody,
    NewModel,
    model_body,
    model_details_body,
)
from automl_api.models.sensitivity import SensitivityBody, sensitivity_body
from automl_api.once import IdempotencyKey, request_of
from automl_api.pages import After, Limit, Listing, Text, listing
from automl_api.problem import Problem
from automl_api.renaming import IfMatch, NewName, rename, tell_version
from automl_api.service import Service, ServiceDependency
from automl_api.sources import ModelSource
from automl_api.system.capabilities import installation
from automl_compress.core.errors import UnknownName
from automl_compress.store import ModelRow, once, removal
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import models as model_rows
from automl_compress.store import probes as probe_rows

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post("", status_code=201)
def create_model(
    new: NewModel,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> ModelDetailsBody:
    """Register a network: it is built, filled with its weights and traced before it is stored."""
    request = request_of(idempotency_key, new)
    with service.database.reading() as session:
        made = once.made_by(session, ModelRow, request)
    row = made or _registered(service, new, request)
    response.headers["Location"] = f"/v1/models/{row.id}"
    return model_details_body(row)


def _registered(service: Service, new: NewModel, request: once.Request) -> ModelRow:
    source = _source(new, service)
    details = inspect_model(source, service.files.directory)
    with service.database.session() as session:
        return model_rows.add(
            session,
            name=new.name,
            source={**source.to_json(), "program_file_id": new.program_file_id},
            weights_file_id=new.weights_file_id,
            details=details,
            request=request,
        )


def _source(new: NewModel, service: Service) -> ModelSource:
    if (new.architecture is None) == (new.program_file_id is None):
        detail = "a network is one of the two: give either an architecture or a program_file_id"
        errors = [{"pointer": "/architecture", "detail": detail}]
        raise Problem(422, "invalid", detail, errors=errors)
    weights = program = None
    if new.weights_file_id is not None:
        weights = uploaded_path(
            service, new.weights_file_id, "safetensors", "/weights_file_id", "invalid-model"
        )
    if new.program_file_id is not None:
        program = uploaded_path(
            service, new.program_file_id, "pt2", "/program_file_id", "invalid-model"
        )
    if new.architecture is not None:
        _check_architecture(new.architecture.name)
    if new.architecture is None:
        return ModelSource(None, weights=weights, program=program, output=new.output)
    told = new.architecture
    return ModelSource(told.name, told.config, weights, output=new.output)


def _check_architecture(name: str) -> None:
    """Refuse a name that no architecture has before a process is started to find that out."""
    known = [each["name"] for each in installation()["architectures"]]
    if name not in known:
        detail = str(UnknownName("architecture", name, known))
        errors = [{"pointer": "/architecture/name", "detail": detail}]
        raise Problem(422, "unknown-name", detail, errors=errors)


@router.get("")
def list_models(
    service: ServiceDependency, text: Text = "", after: After = None, limit: Limit = 50
) -> Listing[ModelBody]:
    """List the networks, the newest first."""
    with service.database.reading() as session:
        page = model_rows.page(session, after=after, limit=limit, text=text)
    return listing(page, model_body, "/v1/models", {"text": text or None, "limit": limit})


@router.get("/{model_id}", response_model=ModelDetailsBody, responses=TAGGED)
def get_model(
    model_id: str,
    response: Response,
    service: ServiceDependency,
    if_none_match: IfNoneMatch = None,
) -> ModelDetailsBody | Response:
    """Describe one network."""
    with service.database.reading() as session:
        row = model_rows.get(session, model_id)
    body = model_details_body(row)
    tell_version(response, row, body)
    return unless_known(if_none_match, response, body)


@router.patch("/{model_id}")
def change_model(
    model_id: str,
    new: NewName,
    request: Request,
    response: Response,
    service: ServiceDependency,
    if_match: IfMatch = None,
) -> ModelDetailsBody:
    """Rename a network; `If-Match` must be the ETag that `GET` told."""
    with service.database.session() as session:
        row = model_rows.lock(session, model_id)
        rename(request, row, new)
    body = model_details_body(row)
    tell_version(response, row, body)
    return body


@router.delete("/{model_id}", status_code=204)
def delete_model(model_id: str, service: ServiceDependency) -> None:
    """Delete a network that no job is on, for good; its files stay."""
    with service.database.session() as session:
        removal.remove_model(session, model_id)


@router.get("/{model_id}/sensitivity")
def get_sensitivity(
    model_id: str, service: ServiceDependency, dataset_id: str | None = None
) -> SensitivityBody:
    """Give what cutting each group alone costs, as jobs on this network measured it.

    Without `dataset_id` the data of the most complete profile are taken.
    """
    with service.database.reading() as session:
        model = model_rows.get(session, model_id)
        if dataset_id is not None:
            dataset_rows.get(session, dataset_id)
        return sensitivity_body(model, probe_rows.of_model(session, model_id, dataset_id))
