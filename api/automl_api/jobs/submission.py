"""Checking a job against its model and its space, before a row is written."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from automl_api.graph_json import graph_from_json
from automl_api.jobs.requests import NewJobBody
from automl_api.jobs.searcher_checks import check_searcher, check_serves
from automl_api.jobs.specified import specified
from automl_api.keys.caller import Caller
from automl_api.keys.quotas import check_queue
from automl_api.once import request_digest
from automl_api.problem import Problem, refuse
from automl_api.service import Service
from automl_compress.core import CompressionSpace, StudySpec
from automl_compress.core.errors import InvalidInput, NotFound, TableMismatch
from automl_compress.costs import LatencyTable, compression_space
from automl_compress.store import DatasetRow, JobRow, ModelRow
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store import targets as target_rows
from automl_compress.store.jobs import NewJob
from automl_compress.targets import TARGETS

#: Called first in the transaction that stores a job: refuses it, or returns one that is there.
Check = Callable[[Session], JobRow | None]


def submit(
    service: Service, new: NewJobBody, idempotency_key: str | None, made_from: object = None
) -> JobRow:
    """Store a job and put it into the queue.

    Args:
        service: as the caller sees it.
        new: the job.
        idempotency_key: under which the same request gives the same job.
        made_from: what the caller sent, where that is not the job itself.

    Raises:
        Problem: the model, the data or a name in the body do not exist or do not go together,
            or the account has as many unfinished jobs as it may.
        KeyReused: the key was used with another body.
        BudgetUnreachable: no policy of the space is that small.
        InvalidInput: a value that is not allowed.
    """
    model, dataset = registered(service, new)
    study = specified(new.study)
    check_fits(model, dataset)
    check_images(dataset, study)
    check_searcher(study)
    check_space(model, study, table_of(service, study))
    check_priority(service.caller, new.priority)
    wanted = NewJob(
        name=new.name or f"{model.name} {new.study.searcher}",
        model_id=new.model_id,
        dataset_id=new.dataset_id,
        spec=_specification(model, dataset, study),
        tags=dict(new.tags),
        priority=new.priority,
        idempotency_key=own_key(service, idempotency_key),
        request_digest=request_digest(new if made_from is None else made_from),
    )
    return put_into_queue(service, wanted)


def check_priority(caller: Caller, priority: int) -> None:
    """Refuse to let a job overtake those of other accounts."""
    if priority > 0 and not caller.is_administrator:
        detail = f"a priority of {priority} is for administrators; give 0 or less"
        raise Problem(403, "forbidden", detail, errors=[{"pointer": "/priority", "detail": detail}])


def check_fits(model: ModelRow, dataset: DatasetRow) -> None:
    """Refuse images and labels that the network cannot take."""
    takes, given = model.details["input_shape"], dataset.details["input_shape"]
    if takes != given:
        refuse(
            "/dataset_id",
            "invalid-data",
            f"the images of {dataset.name!r} are {_text(given)}, channels first, but "
            f"{model.name!r} takes {_text(takes)}; choose other data, or register the network "
            f"with in_channels={given[0]} and image_size={given[-1]}",
        )
    classes, logits = dataset.details["num_classes"], model.details["num_classes"]
    if classes > logits:
        refuse(
            "/dataset_id",
            "invalid-data",
            f"{dataset.name!r} has {classes} classes, but {model.name!r} tells {logits} apart; "
            f"choose other data, or register the network with num_classes={classes}",
        )


def check_images(dataset: DatasetRow, study: StudySpec) -> None:
    """Refuse to score candidates on more images than the search split has."""
    wanted, given = study.recipe.images, dataset.details["splits"]["search"]["images"]
    if wanted is not None and wanted > given:
        refuse(
            "/study/recipe/images",
            "invalid",
            f"the recipe scores {wanted:,} images, but the search split of {dataset.name!r} has "
            f"{given:,}; ask for fewer, or leave it out to take all",
        )


def table_of(service: Service, study: StudySpec) -> LatencyTable | None:
    """Return the stored table of a study's target; None where a worker will measure it.

    Raises:
        Problem: there is no such target, or it is of calls of other images.
    """
    if study.target is None or study.target in TARGETS:
        return None
    with service.database.reading() as session:
        try:
            stored = target_rows.get(session, study.target).latency_table
        except NotFound as error:
            refuse(
                "/study/target", "unknown-name", f"{error}; or name one of: {', '.join(TARGETS)}"
            )
    table = LatencyTable.from_json(stored)
    if study.latency_batch not in (StudySpec.latency_batch, table.batch):
        refuse(
            "/study/latency_batch",
            "invalid",
            f"the table of target {study.target} is of calls of {table.batch} images, not of "
            f"{study.latency_batch}; leave latency_batch out, or bring a table measured with "
            f"--batch {study.latency_batch}",
        )
    return table


def check_space(model: ModelRow, study: StudySpec, table: LatencyTable | None) -> None:
    """Refuse what the network cannot be searched for.

    That is a space that it does not have, a budget that the space cannot reach, and a searcher
    that cannot serve the two.
    """
    space = space_of(model, study, table)
    space.check_reachable(study.budgets[-1])
    check_serves(study, space)


def space_of(model: ModelRow, study: StudySpec, table: LatencyTable | None) -> CompressionSpace:
    """Return what is decided about a network; raises a problem where it has no such space."""
    graph = graph_from_json(model.details["graph"])
    try:
        return compression_space(graph, study.space, table)
    except TableMismatch as error:
        refuse("/study/target", "invalid", str(error))
    except InvalidInput as error:
        refuse("/study/space", "invalid", str(error))


def own_key(service: Service, idempotency_key: str | None) -> str | None:
    """Return an account's key as jobs store it; accounts choose without knowing of each other."""
    return idempotency_key and f"{service.caller.account}/{idempotency_key}"


def put_into_queue(service: Service, wanted: NewJob, check: Check | None = None) -> JobRow:
    """Store a job and queue it, or return the one that was made with its key.

    Args:
        service: as the caller sees it.
        wanted: the job.
        check: of what only the transaction knows that stores the job.

    Raises:
        Problem: the account has as many unfinished jobs as it may.
        KeyReused: the key was used with another body.
    """
    row = _store(service, wanted, check)
    service.queue.announce(row.id)
    return row


def _store(service: Service, wanted: NewJob, check: Check | None) -> JobRow:
    with service.database.reading() as session:
        existing = job_rows.with_key(session, wanted)
    if existing is not None:  # a repetition takes no place in the queue
        return existing
    check_queue(service)
    with service.database.session() as session:
        there = None if check is None else check(session)
        return there or job_rows.create(session, wanted)


def model_spec(model: ModelRow) -> dict[str, Any]:
    """Return what a job's specification says of its network."""
    return {
        **model.source,
        "id": model.id,
        "name": model.name,
        "input_shape": model.details["input_shape"],
        "fingerprint": model.details["fingerprint"],
    }


def dataset_spec(dataset: DatasetRow) -> dict[str, Any]:
    """Return what a job's specification says of its data."""
    return {**dataset.source, "id": dataset.id, "name": dataset.name}


def _specification(model: ModelRow, dataset: DatasetRow, study: StudySpec) -> dict[str, Any]:
    return {
        "model": model_spec(model),
        "dataset": dataset_spec(dataset),
        "study": study.to_json(),
    }


def registered(service: Service, new: NewJobBody) -> tuple[ModelRow, DatasetRow]:
    """Return the network and the data that a body names; raises a problem where there is none."""
    return _model(service, new.model_id), dataset_of(service, new.dataset_id)


def _model(service: Service, identity: str) -> ModelRow:
    with service.database.reading() as session:
        try:
            return model_rows.get(session, identity)
        except NotFound as error:
            refuse("/model_id", "unknown-name", str(error))


def dataset_of(service: Service, identity: str) -> DatasetRow:
    """Return the data that a body names; raises a problem where there are none."""
    with service.database.reading() as session:
        try:
            return dataset_rows.get(session, identity)
        except NotFound as error:
            refuse("/dataset_id", "unknown-name", str(error))


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
