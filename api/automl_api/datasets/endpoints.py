"""`/v1/datasets`."""

from typing import Any

from fastapi import APIRouter, Response

from automl_api.datasets.schemas import (
    BuiltinSource,
    DatasetBody,
    NewDataset,
    NpzSource,
    dataset_body,
)
from automl_api.files.uploaded import uploaded_path
from automl_api.intake import inspect_dataset
from automl_api.pages import After, Limit, Listing, listing
from automl_api.service import Service, ServiceDependency
from automl_api.sources import DataSource
from automl_compress.store import datasets as dataset_rows

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post("", status_code=201)
def create_dataset(new: NewDataset, response: Response, service: ServiceDependency) -> DatasetBody:
    """Register data: all of them are read, checked and split before they are stored."""
    source = _source(service, new)
    details = inspect_dataset(source, service.files.directory)
    first_file = getattr(new.source, "file_id", None) or getattr(new.source, "train_file_id", None)
    with service.database.session() as session:
        row = dataset_rows.add(
            session, name=new.name, source=source.to_json(), file_id=first_file, details=details
        )
    response.headers["Location"] = f"/v1/datasets/{row.id}"
    return dataset_body(row)


@router.get("")
def list_datasets(
    service: ServiceDependency, after: After = None, limit: Limit = 50
) -> Listing[DatasetBody]:
    """List the data sets, the newest first."""
    with service.database.reading() as session:
        page = dataset_rows.page(session, after=after, limit=limit)
    return listing(page, dataset_body, "/v1/datasets", {"limit": limit})


@router.get("/{dataset_id}")
def get_dataset(dataset_id: str, service: ServiceDependency) -> DatasetBody:
    """Describe one data set."""
    with service.database.reading() as session:
        return dataset_body(dataset_rows.get(session, dataset_id))


def _source(service: Service, new: NewDataset) -> DataSource:
    options: dict[str, Any] = {
        **new.model_dump(
            include={"normalisation", "num_classes", "max_train_images", "seed"}, mode="json"
        ),
        "name": new.name,
    }
    told = {name: value for name, value in options.items() if value is not None}
    chosen = new.source
    if isinstance(chosen, BuiltinSource):
        return DataSource("builtin", (chosen.name,), told)
    if isinstance(chosen, NpzSource):
        return DataSource("npz", (_path(service, chosen.file_id, "npz", "file_id"),), told)
    paths = [_path(service, chosen.train_file_id, "parquet", "train_file_id")]
    if chosen.test_file_id is not None:
        paths.append(_path(service, chosen.test_file_id, "parquet", "test_file_id"))
    return DataSource("parquet", tuple(paths), told)


def _path(service: Service, file_id: str, wanted: str, field: str) -> str:
    return uploaded_path(service, file_id, wanted, f"/source/{field}", "invalid-data")
