"""`/v1/policies/{id}/artifacts`: a policy's files, and making them in further formats."""

from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from automl_api.artifacts.endpoints import ArtifactBody, artifact_body
from automl_api.bodies import RequestBody, ResponseBody
from automl_api.jobs.schemas import JobBody
from automl_api.jobs.steering import described
from automl_api.jobs.submission import put_into_queue
from automl_api.pages import Listing
from automl_api.policies.origin import network_of, origin_of
from automl_api.service import Service, ServiceDependency
from automl_compress.core.confirmation import EngineFormat
from automl_compress.store import ArtifactRow, JobKind, JobRow, PolicyRow, artifacts, browsing
from automl_compress.store import policies as policy_rows
from automl_compress.store.browsing import JobFilter
from automl_compress.store.jobs import ACTIVE, NewJob
from automl_compress.store.paging import LARGEST_PAGE
from automl_compress.store.states import JobState

router = APIRouter(prefix="/v1/policies/{policy_id}/artifacts", tags=["policies"])

ExportFormat = Literal["safetensors", EngineFormat]
_UNFINISHED = (*ACTIVE, JobState.PAUSED)


class NewExportBody(RequestBody):
    """The format that a policy's network is wanted in."""

    format: ExportFormat


class ExportBody(ResponseBody):
    """A policy's network in a format.

    artifacts: its files, the main one last; empty until they are made.
    job: that makes them; null where they are there.
    """

    policy_id: str
    format: ExportFormat
    artifacts: Sequence[ArtifactBody]
    job: JobBody | None


@router.get("")
def list_policy_artifacts(policy_id: str, service: ServiceDependency) -> Listing[ArtifactBody]:
    """List the files that there are of a policy, those of its exports last."""
    with service.database.reading() as session:
        found = artifacts.of_policy(session, policy_rows.get(session, policy_id))
    return Listing(data=_bodies(service, found), has_more=False)


@router.post("", status_code=202, responses={200: {"model": ExportBody}})
def export_policy(
    policy_id: str, new: NewExportBody, response: Response, service: ServiceDependency
) -> ExportBody:
    """Put into the queue that a policy's network is written in a format and run in its engine.

    Files that are there are answered with 200, and while they are made with the job that does
    it; so a request may be repeated.
    """
    with service.database.reading() as session:
        policy = policy_rows.get(session, policy_id)
        there = _of_format(artifacts.of_policy(session, policy), new.format)
        if there:
            response.status_code = 200
            content = _bodies(service, there)
            return ExportBody(policy_id=policy.id, format=new.format, artifacts=content, job=None)
        job = _under_way(session, policy, new.format)
        wanted = _wanted(session, policy, new.format)

    def check(session: Session) -> JobRow | None:
        policy_rows.lock(session, policy_id)  # so that nobody has the same made meanwhile
        return _under_way(session, policy, new.format)

    job = job or put_into_queue(service, wanted, check)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    told = described(Response(), service, job.id)  # the ETag is the job's, not this answer's
    return ExportBody(policy_id=policy.id, format=new.format, artifacts=(), job=told)


def _of_format(rows: Sequence[ArtifactRow], wanted: ExportFormat) -> list[ArtifactRow]:
    kind = "network" if wanted == "safetensors" else wanted
    return [row for row in rows if row.kind == kind]


def _under_way(session: Session, policy: PolicyRow, wanted: ExportFormat) -> JobRow | None:
    of_policy = JobFilter(states=_UNFINISHED, policy_id=policy.id, kind=JobKind.EXPORT)
    rows = browsing.jobs(session, of_policy, limit=LARGEST_PAGE).rows
    return next((row for row in rows if row.spec["export"]["format"] == wanted), None)


def _wanted(session: Session, policy: PolicyRow, wanted: ExportFormat) -> NewJob:
    origin, network = origin_of(session, policy), network_of(session, policy)
    return NewJob(
        name=f"{origin.name} as {wanted}"[:200],
        model_id=origin.model.id,
        dataset_id=None,
        kind=JobKind.EXPORT,
        policy_id=policy.id,
        spec={
            "model": origin.model_spec,
            "dataset": {},
            "export": {"format": wanted, "network": network},
        },
        tags={},
    )


def _bodies(service: Service, rows: Sequence[ArtifactRow]) -> list[ArtifactBody]:
    return [artifact_body(row, service.settings.artifact_days) for row in rows]
