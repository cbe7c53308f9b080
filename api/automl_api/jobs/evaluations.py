"""`/v1/policies/{id}/evaluate`: a policy's network is scored on other data, as a job."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy.orm import Session

from automl_api.bodies import Identity, Name, RequestBody
from automl_api.jobs.requests import Priority, Tags
from automl_api.jobs.schemas import JobBody
from automl_api.jobs.steering import described
from automl_api.jobs.submission import (
    check_fits,
    check_priority,
    dataset_of,
    dataset_spec,
    own_key,
    put_into_queue,
)
from automl_api.once import IdempotencyKey, request_digest
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.core.errors import WrongState
from automl_compress.store import (
    JobKind,
    JobRow,
    ModelRow,
    PolicyRow,
    artifacts,
    datasets,
    jobs,
    models,
)
from automl_compress.store import policies as policy_rows
from automl_compress.store.jobs import NewJob

router = APIRouter(prefix="/v1/policies/{policy_id}", tags=["policies"])


class NewEvaluationBody(RequestBody):
    """Which data a policy's network is to be scored on.

    split: of the data; `all` are the three together.
    """

    dataset_id: Identity
    split: Literal["test", "search", "train", "all"] = "test"
    name: Name | None = None
    tags: Tags = Field(default_factory=dict[str, str])
    priority: Priority = 0


@router.post("/evaluate", status_code=202)
def evaluate_policy(
    policy_id: str,
    new: NewEvaluationBody,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> JobBody:
    """Put into the queue that a policy's network, and the uncut one, are scored on other data.

    Pixels are normalised as in the data that the policy was found on, as the network learned them.
    """
    with service.database.reading() as session:
        policy = policy_rows.get(session, policy_id)
        search, model = _origin(session, policy)
        network = _network(session, policy)
        found_on = datasets.get(session, search.dataset_id)
    dataset = dataset_of(service, new.dataset_id)
    if datasets.share_images(dataset, found_on):
        raise _measured_already(policy, found_on.name)
    check_fits(model, dataset)
    check_priority(service.caller, new.priority)
    wanted = NewJob(
        name=new.name or f"{search.name} on {dataset.name}"[:200],
        model_id=model.id,
        dataset_id=dataset.id,
        kind=JobKind.EVALUATION,
        policy_id=policy.id,
        spec={
            "model": search.spec["model"],
            "dataset": dataset_spec(dataset),
            "evaluation": {
                "split": new.split,
                "network": network,
                "normalisation": found_on.details["normalisation"],
            },
        },
        tags=dict(new.tags),
        priority=new.priority,
        idempotency_key=own_key(service, idempotency_key),
        request_digest=request_digest({"evaluate": policy_id, **new.model_dump(mode="json")}),
    )
    made = put_into_queue(service, wanted)
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return described(response, service, made.id)


def _origin(session: Session, policy: PolicyRow) -> tuple[JobRow, ModelRow]:
    """Return the search that found a policy, and its network."""
    if policy.job_id is None:
        raise WrongState(f"policy {policy.id} was found by no job, so its weights are not here")
    search = jobs.get(session, policy.job_id)
    return search, models.get(session, search.model_id)


def _network(session: Session, policy: PolicyRow) -> str | None:
    """Return where a policy's weights lie; None where cutting the uncut network gives them."""
    told: str | None = policy.document["repair"]["weights_sha256"]
    if told is None:
        return None
    found = artifacts.of_content(session, policy.job_id or "", told.removeprefix("sha256:"))
    if found is None or found.removed_at is not None:
        when = "" if found is None else f" since {found.removed_at:%Y-%m-%d}"
        raise WrongState(
            f"the network of policy {policy.id} is gone{when}; clone the job that found it "
            "(POST /v1/jobs/{id}/clone), and evaluate the policies of the copy"
        )
    return found.path


def _measured_already(policy: PolicyRow, name: str) -> Problem:
    detail = (
        f"policy {policy.id} was found on {name!r}, and its document has what the test split of "
        "these data says, once for all; name other data"
    )
    return Problem(422, "invalid", detail, errors=[{"pointer": "/dataset_id", "detail": detail}])
