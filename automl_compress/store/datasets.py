"""Data sets that jobs calibrate, search, tune and test on."""

from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store import once
from automl_compress.store.ids import new_id
from automl_compress.store.paging import LARGEST_PAGE, Page, page_of
from automl_compress.store.tables import DatasetRow, Json, ModelRow


def add(
    session: Session,
    *,
    name: str,
    source: Json,
    file_id: str | None,
    details: Json,
    request: once.Request = once.UNKEYED,
) -> DatasetRow:
    """Store a data set, or return the one that the same request made.

    Args:
        session: the transaction.
        name: for people.
        source: `{format: "builtin" | "npz" | "parquet" ..., name, options}`.
        file_id: an uploaded file; None for a built-in set.
        details: what reading found.
        request: that makes it.

    Raises:
        KeyReused: the request's key was used with another body.
    """
    row = DatasetRow(id=new_id("dat"), name=name, source=source, file_id=file_id, details=details)
    return once.add(session, row, request)


def get(session: Session, dataset_id: str) -> DatasetRow:
    """Return a data set.

    Raises:
        NotFound: no data set has this id.
    """
    return _found(session.get(DatasetRow, dataset_id), dataset_id)


def lock(session: Session, dataset_id: str) -> DatasetRow:
    """Return a data set and keep others from writing it until the transaction ends.

    Raises:
        NotFound: no data set has this id.
    """
    row = session.get(DatasetRow, dataset_id, with_for_update=True, populate_existing=True)
    return _found(row, dataset_id)


def _found(row: DatasetRow | None, dataset_id: str) -> DatasetRow:
    if row is None:
        raise NotFound(f"no data set has the id {dataset_id!r}; GET /v1/datasets lists them")
    return row


def page(
    session: Session, *, after: str | None = None, limit: int = 50, text: str = ""
) -> Page[DatasetRow]:
    """Return data sets, the newest first, behind the data set `after`; with `text` in the name."""
    where = [DatasetRow.name.icontains(text, autoescape=True)] if text else []
    return page_of(session, DatasetRow, DatasetRow.id, where, after=after, limit=limit)


def that_fit(session: Session, model: ModelRow) -> list[DatasetRow]:
    """Return the newest data sets whose images and classes a network takes."""
    takes = model.details
    return [
        row
        for row in page(session, limit=LARGEST_PAGE).rows
        if row.details["input_shape"] == takes["input_shape"]
        and row.details["num_classes"] <= takes["num_classes"]
    ]


def share_images(first: DatasetRow, second: DatasetRow) -> bool:
    """Say whether two data sets hold the same images, which may be registered several times.

    They come from the same built-in set or have an uploaded file in common, and equal bytes are
    one file. How they are split or normalised makes them no other images.
    """
    here: list[str] = first.source.get("location", [])
    there: list[str] = second.source.get("location", [])
    return first.id == second.id or not set(here).isdisjoint(there)
