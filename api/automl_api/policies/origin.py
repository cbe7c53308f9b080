"""Where a policy comes from: its network, its weights, and the data that it was found on."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from automl_api.jobs.submission import model_spec
from automl_compress.core.errors import NotFound, WrongState
from automl_compress.store import (
    DatasetRow,
    JobRow,
    ModelRow,
    PolicyRow,
    artifacts,
    datasets,
    files,
    jobs,
    models,
)


@dataclass(frozen=True)
class Origin:
    """What a job on a policy has to know.

    name: of the search that found it, or of the network where a user brought it.
    model_spec: for the job's specification.
    found_on: the data; None where nothing tells.
    """

    name: str
    model: ModelRow
    model_spec: dict[str, Any]
    found_on: DatasetRow | None


def origin_of(session: Session, policy: PolicyRow) -> Origin:
    """Return where a policy comes from."""
    if policy.job_id is not None:
        job = jobs.get(session, policy.job_id)
        model, found_on = models.get(session, job.model_id), datasets.get(session, job.data_id)
        return Origin(job.name, model, job.spec["model"], found_on)
    model = models.get(session, policy.model_id or "")
    search = _search_by_document(session, policy)
    found_on = None if search is None else datasets.get(session, search.data_id)
    return Origin(model.name, model, model_spec(model), found_on)


def network_of(session: Session, policy: PolicyRow) -> str | None:
    """Return where a policy's weights lie; None where cutting the uncut network gives them.

    Raises:
        WrongState: they are not here; saying how to get them.
    """
    repair = policy.document["repair"]
    if policy.job_id is None:
        return _brought(session, policy, repair["method"])
    told: str | None = repair["weights_sha256"]
    if told is None:
        return None
    found = artifacts.of_content(session, policy.job_id, told.removeprefix("sha256:"))
    if found is None or found.removed_at is not None:
        when = "" if found is None else f" since {found.removed_at:%Y-%m-%d}"
        raise WrongState(
            f"the network of policy {policy.id} is gone{when}; clone the job that found it "
            "(POST /v1/jobs/{id}/clone), and take the policies of the copy"
        )
    return found.path


def _brought(session: Session, policy: PolicyRow, method: str) -> str | None:
    if policy.weights_file_id is not None:
        return files.get(session, policy.weights_file_id).path
    if method == "none":
        return None
    raise WrongState(
        f"the network of policy {policy.id} was repaired ({method}) after the cut, and its weights "
        "are not here; upload them, and send the policy again with their weights_file_id"
    )


def _search_by_document(session: Session, policy: PolicyRow) -> JobRow | None:
    """Return the job of this service that a brought document says it was found by."""
    told = policy.document["provenance"].get("job_id")
    if not isinstance(told, str):
        return None
    try:
        return jobs.get(session, told)
    except NotFound:
        return None
