"""How a policy did on other data, and on which data it can still be scored."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from automl_api.jobs.schemas import JobBody, job_body
from automl_compress.store import PolicyRow, browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
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
    rows = browsing.jobs(session, JobFilter(policy_id=policy.id)).rows
    named = [(dataset_rows.get(session, row.dataset_id).name, job_body(row)) for row in rows]
    return EvaluationsView(named, _offered(session, policy))


def _offered(session: Session, policy: PolicyRow) -> list[Offered]:
    if policy.job_id is None:
        return []
    search = job_rows.get(session, policy.job_id)
    found_on = dataset_rows.get(session, search.dataset_id)
    takes = model_rows.get(session, search.model_id).details
    return [
        Offered(row.id, row.name)
        for row in dataset_rows.page(session, limit=LARGEST_PAGE).rows
        if not dataset_rows.share_images(row, found_on)
        and row.details["input_shape"] == takes["input_shape"]
        and row.details["num_classes"] <= takes["num_classes"]
    ]
