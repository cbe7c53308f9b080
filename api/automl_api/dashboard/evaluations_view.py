"""How a policy did on other data, and on which data it can still be scored."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from automl_api.jobs.schemas import JobBody, job_body
from automl_api.policies.origin import origin_of
from automl_compress.store import JobKind, PolicyRow, browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store.browsing import JobFilter
from automl_compress.store.paging import LARGEST_PAGE


@dataclass(frozen=True)
class Offered:
    """Data that the policy's network takes, and that it was not found on."""

    id: str
    name: str


@dataclass(frozen=True)
class EvaluationsView:
    """The evaluations of a policy, the newest first, by the name of their data."""

    jobs: Sequence[tuple[str, JobBody]]
    offered: Sequence[Offered]


def evaluations_view(session: Session, policy: PolicyRow) -> EvaluationsView:
    """Read the evaluations of a policy, and the data that fit its network."""
    rows = browsing.jobs(session, JobFilter(policy_id=policy.id, kind=JobKind.EVALUATION)).rows
    named = [(dataset_rows.get(session, row.data_id).name, job_body(row)) for row in rows]
    return EvaluationsView(named, _offered(session, policy))


def _offered(session: Session, policy: PolicyRow) -> list[Offered]:
    if policy.model_id is None:
        return []
    origin = origin_of(session, policy)
    takes = origin.model.details
    return [
        Offered(row.id, row.name)
        for row in dataset_rows.page(session, limit=LARGEST_PAGE).rows
        if not (origin.found_on and dataset_rows.share_images(row, origin.found_on))
        and row.details["input_shape"] == takes["input_shape"]
        and row.details["num_classes"] <= takes["num_classes"]
    ]
