"""`/v1/datasets`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from automl_api.caching import TAGGED, IfNoneMatch, unless_known
from automl_api.datasets.schemas import (
    BuiltinSource,
    DatasetBody,
    NewDataset,
    NpzSource,
    ZipSource,
    dataset_body,
)
from automl_api.files.uploaded import uploaded_path
from automl_api.intake import inspect_dataset
from automl_api.once import IdempotencyKey, request_of
from automl_api.pages import After, Limit, Listing, Text, listing
from automl_api.problem import Problem
from automl_api.renaming import IfMatch, NewName, rename, tell_version
from automl_api.service import Service, ServiceDependency
from automl_api.sources import DataSource
from automl_api.system.capabilities import installation
from automl_compress.core.errors import UnknownName
from automl_compress.store import DatasetRow, once, removal
from automl_compress.store import datasets as dataset_rows

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post("", status_code=201)
def create_dataset(
    new: NewDataset,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> DatasetBody:
    """Register data: all of them are read, checked and split before they are stored."""
    request = request_of(idempotency_key, new)
    with service.database.reading() as session:
        made = once.made_by(session, DatasetRow, request)
    row = made or _registered(service, new, request)
    response.headers["Location"] = f"/v1/datasets/{row.id}"
    return dataset_body(row)


@router.get("")
def list_datasets(
    service: ServiceDependency, text: Text = "", after: After = None, limit: Limit = 50
) -> Listing[DatasetBody]:
    """List the data sets, the newest first."""
    with service.database.reading() as session:
        page = dataset_rows.page(session, after=after, limit=limit, text=text)
    return listing(page, dataset_body, "/v1/datasets", {"text": text or None, "limit": limit})


@router.get("/{dataset_id}", response_model=DatasetBody, responses=TAGGED)
def get_dataset(
    dataset_id: str,
    response: Response,
    service: ServiceDependency,
    if_none_match: IfNoneMatch = None,
) -> DatasetBody | Response:
    """Describe one data set."""
    with service.database.reading() as session:
        row = dataset_rows.get(session, dataset_id)
    body = dataset_body(row)
    tell_version(response, row, body)
    return unless_known(if_none_match, response, body)


@router.patch("/{dataset_id}")
def change_dataset(
    dataset_id: str,
    new: NewName,
    request: Request,
    response: Response,
    service: ServiceDependency,
    if_match: IfMatch = None,
) -> DatasetBody:
    """Rename a data set; `If-Match` must be the ETag that `GET` told."""
    with service.database.session() as session:
        row = dataset_rows.lock(session, dataset_id)
        rename(request, row, new)
    body = dataset_body(row)
    tell_version(response, row, body)
    return body


@router.delete("/{dataset_id}", status_code=204)
def delete_dataset(dataset_id: str, service: ServiceDependency) -> None:
    """Delete a data set that no job is on, for good; its files stay."""
    with service.database.session() as session:
        removal.remove_dataset(session, dataset_id)
    service.files.remove(f"samples/{dataset_id}.json")


def _registered(service: Service, new: NewDataset, request: once.Request) -> DatasetRow:
    source = _source(service, new)
    details = inspect_dataset(source, service.files.directory)
    first_file = getattr(new.source, "file_id", None) or getattr(new.source, "train_file_id", None)
    with service.database.session() as session:
        return dataset_rows.add(
            session,
            name=new.name,
            source=source.to_json(),
            file_id=first_file,
            details=details,
            request=request,
        )


def _source(service: Service, new: NewDataset) -> DataSource:
    options: dict[str, Any] = {
        **new.model_dump(exclude={"source"}, mode="json"),
    }
    told = {name: value for name, value in options.items() if value is not None}
    chosen = new.source
    if isinstance(chosen, BuiltinSource):
        _check_builtin(chosen.name)
        return DataSource("builtin", (chosen.name,), told)
    if isinstance(chosen, NpzSource | ZipSource):
        path = _path(service, chosen.file_id, chosen.kind, "file_id")
        return DataSource(chosen.kind, (path,), told)
    paths = [_path(service, chosen.train_file_id, "parquet", "train_file_id")]
    if chosen.test_file_id is not None:
        paths.append(_path(service, chosen.test_file_id, "parquet", "test_file_id"))
    return DataSource("parquet", tuple(paths), told)


def _check_builtin(name: str) -> None:
    """Refuse a name that no data have before a process is started to find that out."""
    known = installation()["datasets"]
    if name not in known:
        detail = str(UnknownName("built-in data set", name, known))
        errors = [{"pointer": "/source/name", "detail": detail}]
        raise Problem(422, "unknown-name", detail, errors=errors)


def _path(service: Service, file_id: str, wanted: str, field: str) -> str:
    return uploaded_path(service, file_id, wanted, f"/source/{field}", "invalid-data")
