"""Which policies of a search are confirmed already, and by what settings.

The test split scores a policy once: what is confirmed alike is not confirmed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from automl_compress.core import Policy
from automl_compress.store.states import JobKind, JobState
from automl_compress.store.tables import JobRow, TrialRow
from automl_compress.store.trials import policy_digest


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A policy that is confirmed, or about to be.

    job_id: of the search itself, or of a confirmation. policy_id: None until it is there.
    """

    job_id: str
    policy_id: str | None


def digest_of(trial: TrialRow) -> str:
    """Return the digest of a trial's policy, which trials of long ago do not have stored."""
    return trial.policy_digest or policy_digest(Policy.from_json(trial.policy))


def confirmed_alike(
    session: Session, search: JobRow, trial: TrialRow, confirmation: Mapping[str, Any]
) -> Confirmed | None:
    """Find where a trial's policy is confirmed by the same settings.

    What failed or was cancelled does not count: confirming again gives the same figures, which
    nobody has seen chosen by.

    Args:
        session: the transaction.
        search: the job that the trial is of.
        trial: whose policy it is.
        confirmation: the settings, as a study has them.
    """
    wanted = digest_of(trial), _tuning(confirmation)
    return _by_itself(session, search, wanted) or _by_others(session, search.id, wanted)


def of_search(session: Session, search_id: str) -> Sequence[JobRow]:
    """Return the confirmations of a search's trials, the newest first."""
    query = select(JobRow).where(JobRow.search_id == search_id).order_by(JobRow.id.desc())
    return session.scalars(query).all()


def _tuning(confirmation: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells one tuning from another; which files are written for engines does not."""
    epochs = confirmation["finetune_epochs"]
    weight = confirmation.get("distillation_weight") or 0.0
    usual = {"recipe": "at_once", "precision": "float32", "finetune_scales": "fitted"}
    how = tuple(confirmation.get(name, default) for name, default in usual.items())
    if not epochs:
        return (epochs,)
    if not weight:  # by labels alone
        return epochs, how
    direction = confirmation.get("distillation_direction", "forward")
    return epochs, how, weight, confirmation["distillation_temperature"], direction


def _by_itself(session: Session, search: JobRow, wanted: tuple[str, Any]) -> Confirmed | None:
    if _tuning(search.spec["study"]["confirmation"]) != wanted[1]:
        return None
    told = {each["trial_number"]: each for each in (search.result or {}).get("policies", ())}
    query = select(TrialRow).where(TrialRow.job_id == search.id, TrialRow.number.in_(list(told)))
    for trial in session.scalars(query):
        if digest_of(trial) == wanted[0]:
            return Confirmed(search.id, told[trial.number]["policy_id"])
    return None


def _by_others(session: Session, search_id: str, wanted: tuple[str, Any]) -> Confirmed | None:
    for job in of_search(session, search_id):
        is_over = job.state in (JobState.FAILED, JobState.CANCELLED)
        if job.kind is not JobKind.CONFIRMATION or is_over:
            continue
        told = job.spec["confirmation"]["policy_digest"], _tuning(job.spec["study"]["confirmation"])
        if told == wanted:
            return Confirmed(job.id, (job.result or {}).get("policy_id"))
    return None
