"""`/v1/targets`: engines on processors, by what the layers of networks take there."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from automl_api.bodies import Moment, Name, RequestBody, ResponseBody
from automl_api.once import IdempotencyKey, request_of
from automl_api.pages import After, Limit, Listing, listing
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.core.errors import InvalidInput
from automl_compress.costs import LatencyTable
from automl_compress.store import TargetRow, once, removal
from automl_compress.store import targets as target_rows

router = APIRouter(prefix="/v1/targets", tags=["targets"])


class NewTarget(RequestBody):
    """A latency table that was measured on some machine, by `automl-compress measure-latency`."""

    name: Name
    latency_table: Annotated[dict[str, Any], Field(max_length=20)]


class TargetBody(ResponseBody):
    """An engine on a processor.

    engine: `cpu-onnxruntime`, `cpu-openvino`, or another name that a brought table has.
    batch: images of one call. entries: measured pairs of a layer's input and output channels.
    graph_fingerprint: of the network for which it was measured; null where that is not known.
    """

    id: str
    name: str
    engine: str
    engine_version: str
    processor: str
    batch: int
    entries: int
    graph_fingerprint: str | None
    created: Moment


class TargetWithTable(TargetBody):
    """An engine on a processor, with the times of layers in nanoseconds."""

    latency_table: Mapping[str, Any]


@router.post("", status_code=201)
def create_target(
    new: NewTarget,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> TargetBody:
    """Bring a latency table; jobs that name its id in `study.target` count with it."""
    table = _checked(new.latency_table)
    with service.database.session() as session:
        request = request_of(idempotency_key, new)
        made = once.made_by(session, TargetRow, request)
        row = made or target_rows.add(
            session, name=new.name, latency_table=table.to_json(), request=request
        )
    response.headers["Location"] = f"/v1/targets/{row.id}"
    return _body(row)


@router.get("")
def list_targets(
    service: ServiceDependency, after: After = None, limit: Limit = 50
) -> Listing[TargetBody]:
    """List the targets, the newest first: those that jobs measured, and those that were brought.

    What a worker can measure by itself is in `latency_targets` of `/v1/capabilities`.
    """
    with service.database.reading() as session:
        page = target_rows.page(session, after=after, limit=limit)
    return listing(page, _body, "/v1/targets", {"limit": limit})


@router.get("/{target_id}")
def get_target(target_id: str, service: ServiceDependency) -> TargetWithTable:
    """Give one target with its table."""
    with service.database.reading() as session:
        row = target_rows.get(session, target_id)
    return TargetWithTable(**_body(row).model_dump(), latency_table=row.latency_table)


@router.delete("/{target_id}", status_code=204)
def delete_target(target_id: str, service: ServiceDependency) -> None:
    """Delete a target that no unfinished job counts with, for good."""
    with service.database.session() as session:
        removal.remove_target(session, target_id)


def _checked(content: Mapping[str, Any]) -> LatencyTable:
    try:
        return LatencyTable.from_json(content)
    except InvalidInput as error:
        place, _, detail = str(error).partition(": ")
        pointer = f"/latency_table{place}"
        errors = [{"pointer": pointer, "detail": detail}]
        raise Problem(422, "invalid", f"{pointer}: {detail}", errors=errors) from error


def _body(row: TargetRow) -> TargetBody:
    return TargetBody(
        id=row.id,
        name=row.name,
        engine=row.engine,
        engine_version=row.engine_version,
        processor=row.processor,
        batch=row.batch,
        entries=sum(
            len(layer["inputs"]) * len(layer["outputs"]) for layer in row.latency_table["layers"]
        ),
        graph_fingerprint=row.graph_fingerprint,
        created=row.created_at,
    )
