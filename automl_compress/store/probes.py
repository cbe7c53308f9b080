"""Probes of one network, from all of its jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.core import Measurement, Policy, TrialState
from automl_compress.store.tables import IS_PROBE, JobRow, TrialRow


@dataclass(frozen=True)
class StoredProbe:
    """A measured probe, and the job that asked for it."""

    job_id: str
    dataset_id: str
    policy: Policy
    measurement: Measurement


_PROBES = (
    select(JobRow.id, JobRow.dataset_id, TrialRow.policy, TrialRow.measurement)
    .join(JobRow, JobRow.id == TrialRow.job_id)
    .where(IS_PROBE, TrialRow.state == TrialState.COMPLETE)
)


def of_job(session: Session, job_id: str) -> Sequence[StoredProbe]:
    """Return the complete probes of a job, by number."""
    query = _PROBES.where(JobRow.id == job_id).order_by(TrialRow.number)
    return [_probe(*row) for row in session.execute(query)]


def of_model(
    session: Session, model_id: str, dataset_id: str | None = None
) -> Sequence[StoredProbe]:
    """Return the complete probes of all jobs on a model, the latest job's first.

    Args:
        session: the transaction.
        model_id: of the network.
        dataset_id: of these data alone; None for any.
    """
    query = _PROBES.where(JobRow.model_id == model_id)
    query = query.order_by(JobRow.created_at.desc(), JobRow.id, TrialRow.number)
    if dataset_id is not None:
        query = query.where(JobRow.dataset_id == dataset_id)
    return [_probe(*row) for row in session.execute(query)]


def _probe(
    job_id: str, dataset_id: str, policy: object, measured: Mapping[str, Any]
) -> StoredProbe:
    return StoredProbe(
        job_id, dataset_id, Policy.from_json(policy), Measurement.from_json(measured)
    )
