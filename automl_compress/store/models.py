"""Trained networks that jobs compress."""

from sqlalchemy.orm import Session

from automl_compress.core.errors import NotFound
from automl_compress.store import once
from automl_compress.store.ids import new_id
from automl_compress.store.paging import Page, page_of
from automl_compress.store.tables import Json, ModelRow


def add(
    session: Session,
    *,
    name: str,
    source: Json,
    weights_file_id: str | None,
    details: Json,
    request: once.Request = once.UNKEYED,
) -> ModelRow:
    """Store a model, or return the one that the same request made.

    Args:
        session: the transaction.
        name: for people.
        source: `{kind: "architecture", name, config}`.
        weights_file_id: an uploaded file; None where the source brings its own weights.
        details: what tracing found.
        request: that makes it.

    Raises:
        KeyReused: the request's key was used with another body.
    """
    row = ModelRow(
        id=new_id("mdl"),
        name=name,
        source=source,
        weights_file_id=weights_file_id,
        details=details,
    )
    return once.add(session, row, request)


def get(session: Session, model_id: str) -> ModelRow:
    """Return a model.

    Raises:
        NotFound: no model has this id.
    """
    return _found(session.get(ModelRow, model_id), model_id)


def lock(session: Session, model_id: str) -> ModelRow:
    """Return a model and keep others from writing it until the transaction ends.

    Raises:
        NotFound: no model has this id.
    """
    row = session.get(ModelRow, model_id, with_for_update=True, populate_existing=True)
    return _found(row, model_id)


def _found(row: ModelRow | None, model_id: str) -> ModelRow:
    if row is None:
        raise NotFound(f"no model has the id {model_id!r}; GET /v1/models lists them")
    return row


def page(
    session: Session, *, after: str | None = None, limit: int = 50, text: str = ""
) -> Page[ModelRow]:
    """Return models, the newest first, behind the model `after`; with `text` in the name."""
    where = [ModelRow.name.icontains(text, autoescape=True)] if text else []
    return page_of(session, ModelRow, ModelRow.id, where, after=after, limit=limit)
