"""How a policy did on other data, and on which data it can still be scored."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from automl_api.jobs.schemas import JobBody, job_body
from automl_api.policies.origin import origin_of
from automl_compress.store import DatasetRow, JobKind, PolicyRow, browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store.browsing import JobFilter


@dataclass(frozen=True)
class EvaluationsView:
    """The evaluations of a policy, the newest first, by the name of their data.

    offered: data that its network takes, and that it was not found on.
    """

    jobs: Sequence[tuple[str, JobBody]]
    offered: Sequence[DatasetRow]


def evaluations_view(session: Session, policy: PolicyRow) -> EvaluationsView:
    """Read the evaluations of a policy, and the data that fit its network."""
    rows = browsing.jobs(session, JobFilter(policy_id=policy.id, kind=JobKind.EVALUATION)).rows
    named = [(dataset_rows.get(session, row.data_id).name, job_body(row)) for row in rows]
    return EvaluationsView(named, _offered(session, policy))


def _offered(session: Session, policy: PolicyRow) -> list[DatasetRow]:
    if policy.model_id is None:
        return []
    origin = origin_of(session, policy)
    return [
        row
        for row in dataset_rows.that_fit(session, origin.model)
        if not (origin.found_on and dataset_rows.share_images(row, origin.found_on))
    ]
