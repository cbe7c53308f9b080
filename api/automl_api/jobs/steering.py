"""`/v1/jobs/{id}`: change, pause, resume, cancel, clone and delete a job."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field, ValidationError

from automl_api.bodies import Identity, Name, RequestBody
from automl_api.caching import ASKED_AGAIN, check_precondition, versioned_tag
from automl_api.jobs.merging import merged
from automl_api.jobs.requests import NewJobBody, Priority, StudyBody, Tags
from automl_api.jobs.schemas import JobBody, job_body
from automl_api.jobs.submission import check_priority, check_space, submit, table_of
from automl_api.once import IdempotencyKey
from automl_api.problem import Problem, pointer
from automl_api.service import Service, ServiceDependency
from automl_compress.core import StudySpec
from automl_compress.store import JobRow, job_changes, removal
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


class EffortChanges(RequestBody):
    """What of the effort is to be another.

    evaluations: null leaves them. wall_seconds: null takes the limit away.
    """

    evaluations: Annotated[float, Field(ge=1, le=1_000_000)] | None = None
    wall_seconds: Annotated[float, Field(gt=0)] | None = None

    def members(self) -> dict[str, Any]:
        """Return what is to be another."""
        return self.model_dump(
            exclude_unset=True, exclude={"evaluations"} if self.evaluations is None else set()
        )


class JobChangesBody(RequestBody):
    """What of a job is to be another; what is left out stays."""

    name: Name | None = None
    tags: Tags | None = None
    priority: Priority | None = None
    effort: EffortChanges | None = None


class CloneBody(RequestBody):
    """What of a job's copy is to be another; what is left out is as in the job.

    study: a merge patch (RFC 7396): members replace those of the same name, null removes them.
    """

    name: Name | None = None
    model_id: Identity | None = None
    dataset_id: Identity | None = None
    study: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=20)
    tags: Tags | None = None
    priority: Priority = 0


IfMatch = Annotated[
    str | None, Header(max_length=1000, description="The ETag of the job that is changed.")
]


@router.patch("")
def change_job(
    job_id: str,
    changes: JobChangesBody,
    request: Request,
    response: Response,
    service: ServiceDependency,
    if_match: IfMatch = None,
) -> JobBody:
    """Change name, tags, priority or effort of a job, also while it runs.

    A search that runs ends by its new effort. `If-Match` must be the ETag that `GET` told.
    """
    check_priority(service.caller, changes.priority or 0)
    told = job_changes.JobChanges(
        name=changes.name,
        tags=changes.tags,
        priority=changes.priority,
        effort=changes.effort and changes.effort.members(),
    )
    if told.effort is not None:
        _check_effort(service, job_id, told.effort)
    with service.database.session() as session:
        row = job_rows.lock(session, job_id)
        check_precondition(request, job_changes.version_of(row))
        is_moved = job_changes.change(session, row, told)
    if is_moved:
        service.queue.announce(job_id)
    return described(response, service, job_id)


@router.delete("", status_code=204)
def delete_job(job_id: str, service: ServiceDependency) -> None:
    """Delete a job that has ended, with its trials, events, policies and artifacts, for good."""
    with service.database.session() as session:
        paths = removal.remove_job(session, job_id)
    for path in paths:
        service.files.remove(path)


@router.post("/cancel", status_code=202)
def cancel_job(job_id: str, response: Response, service: ServiceDependency) -> JobBody:
    """End a job for good; repeating is harmless."""
    service.queue.cancel(_own(service, job_id).id)
    return described(response, service, job_id)


@router.post("/pause", status_code=202)
def pause_job(job_id: str, response: Response, service: ServiceDependency) -> JobBody:
    """Stop a job until it is resumed; repeating is harmless."""
    service.queue.pause(_own(service, job_id).id)
    return described(response, service, job_id)


@router.post("/resume", status_code=202)
def resume_job(job_id: str, response: Response, service: ServiceDependency) -> JobBody:
    """Go on with a paused job; repeating is harmless."""
    service.queue.resume(_own(service, job_id).id)
    return described(response, service, job_id)


@router.post("/clone", status_code=202)
def clone_job(
    job_id: str,
    changes: CloneBody,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> JobBody:
    """Put a copy of a job into the queue, with changes."""
    row = _own(service, job_id)
    study = job_rows.study_of(row)
    new = NewJobBody(
        name=changes.name or f"{row.name} (copy)"[:200],
        model_id=changes.model_id or row.model_id,
        dataset_id=changes.dataset_id or row.data_id,
        study=_patched_study(study, changes.study),
        tags=row.tags if changes.tags is None else changes.tags,
        priority=changes.priority,
    )
    sent = {"clone": job_id, **changes.model_dump(mode="json")}
    made = submit(service, new, idempotency_key, sent)
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return described(response, service, made.id)


def described(response: Response, service: Service, job_id: str) -> JobBody:
    """Describe a job, under an ETag that begins with the version of what may change of it."""
    row = _own(service, job_id)
    body = job_body(row)
    response.headers["ETag"] = versioned_tag(job_changes.version_of(row), body)
    response.headers["Cache-Control"] = ASKED_AGAIN
    return body


def _check_effort(service: Service, job_id: str, changed: Mapping[str, Any]) -> None:
    """Refuse an effort that the job's searcher cannot serve."""
    with service.database.reading() as session:
        row = job_rows.get(session, job_id)
        model = model_rows.get(session, row.model_id)
    study = job_rows.study_of(row)
    effort = {**study["effort"], **changed}
    wanted = StudySpec.from_json({**study, "effort": effort})
    check_space(model, wanted, table_of(service, wanted))


def _own(service: Service, job_id: str) -> JobRow:
    with service.database.reading() as session:
        return job_rows.get(session, job_id)


def _patched_study(study: Mapping[str, Any], changes: Mapping[str, Any]) -> StudyBody:
    original = dict(study)
    if changes.get("searcher", study["searcher"]) != study["searcher"]:
        # What was completed for one searcher does not suit another.
        original["searcher_options"] = {}
        recipe: Mapping[str, Any] = original["recipe"]
        left = {"repair", "weights", "pruning_net"}
        original["recipe"] = {name: recipe[name] for name in recipe if name not in left}
    try:
        return StudyBody.model_validate(merged(original, changes))
    except ValidationError as error:
        errors = [
            {"pointer": pointer("study", *each["loc"]), "detail": each["msg"]}
            for each in error.errors()
        ]
        detail = f"{errors[0]['pointer']}: {errors[0]['detail']}"
        raise Problem(422, "invalid", detail, errors=errors) from error
