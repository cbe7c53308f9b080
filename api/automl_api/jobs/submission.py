"""Checking a job against its model and its space, before a row is written."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from automl_agents import catalogue
from automl_api.graph_json import graph_from_json
from automl_api.jobs.requests import NewJobBody
from automl_api.problem import Problem, pointer
from automl_api.service import Service
from automl_api.system.capabilities import installation
from automl_compress.core import SearchProblem, SpaceOptions, StudySpec
from automl_compress.core.canonical import digest
from automl_compress.core.errors import InvalidInput, NotFound, UnknownName
from automl_compress.costs import compression_space
from automl_compress.store import DatasetRow, JobRow, ModelRow
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store.jobs import NewJob


def submit(service: Service, new: NewJobBody, idempotency_key: str | None) -> JobRow:
    """Store a job and put it into the queue.

    Raises:
        Problem: the model, the data or a name in the body do not exist or do not go together,
            or the key was used with another body.
        BudgetUnreachable: no policy of the space is that small.
        InvalidInput: a value that is not allowed.
    """
    model, dataset = _model(service, new.model_id), _dataset(service, new.dataset_id)
    study = new.study.specification()
    check_fits(model, dataset)
    check_searcher(study)
    check_space(model, study)
    row = _store(service, new, idempotency_key, _specification(model, dataset, study))
    service.queue.submit(row.id)
    return row


def check_fits(model: ModelRow, dataset: DatasetRow) -> None:
    """Refuse images and labels that the network cannot take."""
    takes, given = model.details["input_shape"], dataset.details["input_shape"]
    if takes != given:
        _refuse(
            "/dataset_id",
            "invalid-data",
            f"the images of {dataset.name!r} are {_text(given)} (channels x height x width), but "
            f"{model.name!r} takes {_text(takes)}; choose other data, or register the network "
            f"with in_channels={given[0]} and image_size={given[-1]}",
        )
    classes, logits = dataset.details["num_classes"], model.details["num_classes"]
    if classes > logits:
        _refuse(
            "/dataset_id",
            "invalid-data",
            f"{dataset.name!r} has {classes} classes, but {model.name!r} tells {logits} apart; "
            f"choose other data, or register the network with num_classes={classes}",
        )


def check_searcher(study: StudySpec) -> None:
    """Refuse an unknown searcher, and options that it cannot have; each is named."""
    options = study.searcher_options
    alone = [(name, {name: value}) for name, value in options.items()]
    wrong = [
        {"pointer": pointer("study", "searcher_options", name), "detail": detail}
        for name, each in alone
        if (detail := _option_error(study.searcher, each)) is not None
    ]
    if wrong:
        raise Problem(422, "invalid", wrong[0]["detail"], errors=wrong)
    together = _option_error(study.searcher, options)
    if together is not None:
        _refuse("/study/searcher_options", "invalid", together)


def _option_error(searcher: str, options: Mapping[str, Any]) -> str | None:
    try:
        catalogue.check_options(searcher, options, allows_paths=False)
    except UnknownName as error:
        _refuse("/study/searcher", "unknown-name", str(error))
    except InvalidInput as error:
        return str(error)
    return None


def check_space(model: ModelRow, study: StudySpec) -> None:
    """Refuse what the network cannot be searched for.

    That is a space that it does not have, a budget that the space cannot reach, and a searcher
    that cannot serve the two.
    """
    for kind, names in (("criterion", "criteria"), ("quantiser", "quantisers")):
        told = getattr(study.space, kind)
        # The default exists; to know the others, torch is asked.
        if told != getattr(SpaceOptions(), kind) and told not in installation()[names]:
            error = UnknownName(kind, told, installation()[names])
            _refuse(f"/study/space/{kind}", "unknown-name", str(error))
    graph = graph_from_json(model.details["graph"])
    try:
        space = compression_space(graph, study.space)
    except InvalidInput as error:
        _refuse("/study/space", "invalid", str(error))
    space.check_reachable(study.budget)
    problem = SearchProblem(space, study.budget, study.effort, study.seed)
    try:
        catalogue.check_serves(study.searcher, problem, study.searcher_options)
    except InvalidInput as error:
        _refuse("/study/searcher", "invalid", str(error))


def _store(
    service: Service, new: NewJobBody, idempotency_key: str | None, specification: dict[str, Any]
) -> JobRow:
    wanted = NewJob(
        name=new.name or f"{specification['model']['name']} {new.study.searcher}",
        model_id=new.model_id,
        dataset_id=new.dataset_id,
        spec=specification,
        tags=dict(new.tags),
        idempotency_key=idempotency_key,
        request_digest=digest(new.model_dump(mode="json")).removeprefix("sha256:"),
    )
    with service.database.session() as session:
        try:
            return job_rows.create(session, wanted)
        except InvalidInput as error:
            raise Problem(422, "idempotency-mismatch", str(error)) from error


def _specification(model: ModelRow, dataset: DatasetRow, study: StudySpec) -> dict[str, Any]:
    return {
        "model": {
            **model.source,
            "id": model.id,
            "name": model.name,
            "input_shape": model.details["input_shape"],
            "fingerprint": model.details["fingerprint"],
        },
        "dataset": {**dataset.source, "id": dataset.id, "name": dataset.name},
        "study": study.to_json(),
    }


def _model(service: Service, identity: str) -> ModelRow:
    with service.database.reading() as session:
        try:
            return model_rows.get(session, identity)
        except NotFound as error:
            _refuse("/model_id", "unknown-name", str(error))


def _dataset(service: Service, identity: str) -> DatasetRow:
    with service.database.reading() as session:
        try:
            return dataset_rows.get(session, identity)
        except NotFound as error:
            _refuse("/dataset_id", "unknown-name", str(error))


def _refuse(pointer: str, code: str, detail: str) -> NoReturn:
    raise Problem(422, code, detail, errors=[{"pointer": pointer, "detail": detail}])


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
