"""`/v1/policies`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response

from automl_api.bodies import ResponseBody
from automl_api.caching import IfNoneMatch, document_response
from automl_api.dashboard.policy_diff import policy_diff
from automl_api.pages import After, Limit, Listing, listing
from automl_api.policies.document_schema import DOCUMENT
from automl_api.policies.schemas import PolicyBody, policy_body
from automl_api.service import ServiceDependency
from automl_compress.store import policies as policy_rows

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class GroupDiffBody(ResponseBody):
    """How many channels two policies keep of a group; `shared` are kept by both."""

    name: str
    channels: int
    kept: tuple[int, int]
    shared: int


class LayerDiffBody(ResponseBody):
    """A layer under two policies: its bits, and what it costs, by metric."""

    name: str
    bits: tuple[str, str]
    costs: Mapping[str, tuple[int, int]]


class PolicyDiffBody(ResponseBody):
    """Two policies side by side; each pair has the first policy's value first.

    is_same_network: otherwise only totals compare, and there are no groups and layers.
    layers: those that differ; `equal_layers` do not.
    """

    policies: tuple[str, str]
    totals: Mapping[str, tuple[int, int]]
    is_same_network: bool
    groups: Sequence[GroupDiffBody]
    layers: Sequence[LayerDiffBody]
    equal_layers: int


@router.get("")
def list_policies(
    service: ServiceDependency,
    job_id: Annotated[str | None, Query(max_length=64, description="Of this job alone.")] = None,
    model_id: Annotated[
        str | None, Query(max_length=64, description="For this network alone.")
    ] = None,
    after: After = None,
    limit: Limit = 50,
) -> Listing[PolicyBody]:
    """List the policies, the newest first."""
    with service.database.reading() as session:
        page = policy_rows.page(session, after=after, limit=limit, job_id=job_id, model_id=model_id)
    filters = {"job_id": job_id, "model_id": model_id, "limit": limit}
    return listing(page, policy_body, "/v1/policies", filters)


@router.get("/{policy_id}", responses=DOCUMENT)
def get_policy(
    policy_id: str, service: ServiceDependency, if_none_match: IfNoneMatch = None
) -> Response:
    """Give a policy document; it never changes."""
    with service.database.reading() as session:
        row = policy_rows.get(session, policy_id)
    return document_response(if_none_match, row.document, "private, max-age=31536000, immutable")


@router.get("/{policy_id}/diff/{other_id}")
def get_policy_diff(policy_id: str, other_id: str, service: ServiceDependency) -> PolicyDiffBody:
    """Say where two policies differ, group by group and layer by layer."""
    with service.database.reading() as session:
        found = policy_diff(session, policy_id, other_id)
    first, second = found.policies
    return PolicyDiffBody(
        policies=(first.id, second.id),
        totals=found.totals,
        is_same_network=found.is_same_network,
        groups=[GroupDiffBody(**asdict(each)) for each in found.groups],
        layers=[LayerDiffBody(**asdict(each)) for each in found.layers],
        equal_layers=found.equal_layers,
    )
