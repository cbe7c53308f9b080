"""`/v1/policies/{id}/evaluate`: a policy's network is scored on other data, as a job."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field

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
from automl_api.policies.origin import network_of, origin_of
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.store import JobKind, PolicyRow, datasets
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

    Pixels are normalised as in the data that the policy was found on, as the network learned them;
    where a user brought the policy and it does not tell, as the named data say.
    """
    with service.database.reading() as session:
        policy = policy_rows.get(session, policy_id)
        origin = origin_of(session, policy)
        network = network_of(session, policy)
    dataset = dataset_of(service, new.dataset_id)
    if origin.found_on is not None and datasets.share_images(dataset, origin.found_on):
        raise _measured_already(policy, origin.found_on.name)
    check_fits(origin.model, dataset)
    check_priority(service.caller, new.priority)
    wanted = NewJob(
        name=new.name or f"{origin.name} on {dataset.name}"[:200],
        model_id=origin.model.id,
        dataset_id=dataset.id,
        kind=JobKind.EVALUATION,
        policy_id=policy.id,
        spec={
            "model": origin.model_spec,
            "dataset": dataset_spec(dataset),
            "evaluation": {
                "split": new.split,
                "network": network,
                "normalisation": (origin.found_on or dataset).details["normalisation"],
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


def _measured_already(policy: PolicyRow, name: str) -> Problem:
    detail = (
        f"policy {policy.id} was found on {name!r}, and its document has what the test split of "
        "these data says, once for all; name other data"
    )
    return Problem(422, "invalid", detail, errors=[{"pointer": "/dataset_id", "detail": detail}])
