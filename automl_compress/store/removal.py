"""Deleting what users brought and what jobs made of it.

Nothing goes by itself, and nothing goes that something else is made of. Bytes leave the disk with
the last row that names them, which is for the caller: the functions return their paths.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, String, cast, delete, exists, select
from sqlalchemy.orm import Session

from automl_compress.core.errors import InUse, WrongState
from automl_compress.store import artifacts, datasets, files, jobs, models, policies, targets
from automl_compress.store.tables import (
    DatasetRow,
    EventRow,
    FileRow,
    JobRow,
    ModelRow,
    PolicyRow,
    Table,
)

# Core tables: what another account made of a row keeps it, too, though nobody may know of it.
_MODELS, _DATASETS = ModelRow.__table__, DatasetRow.__table__
_JOBS, _FILES, _POLICIES = JobRow.__table__, FileRow.__table__, PolicyRow.__table__
_EVENTS = EventRow.__table__


def remove_file(session: Session, file_id: str) -> Sequence[str]:
    """Delete an uploaded file's row.

    Returns:
        The path of its bytes, where no other row names them.

    Raises:
        NotFound: no file has this id.
        InUse: a model or a data set is made of it.
    """
    row = files.get(session, file_id)
    # Programs and test files stand in the source alone; a path holds the file's digest.
    elsewhere = _is_there(session, (_FILES.c.path == row.path) & (_FILES.c.id != row.id))
    for kind, table in (("model", _MODELS), ("data set", _DATASETS)):
        named = cast(table.c.source, String).contains(row.path, autoescape=True)
        if elsewhere:  # another account's use is of its own upload of the same bytes
            named &= table.c.account == row.account
        if _is_there(session, named):
            raise InUse(f"a {kind} is made of file {file_id}; delete the {kind} first")
    if _is_there(session, _POLICIES.c.weights_file_id == file_id):
        raise InUse(f"file {file_id} is the network of a policy; delete the policy first")
    session.delete(row)
    session.flush()
    return () if elsewhere else (row.path,)


def remove_model(session: Session, model_id: str) -> None:
    """Delete a network; raises NotFound, or InUse where there are jobs or policies on it."""
    row = models.get(session, model_id)
    _refuse_with_jobs(session, _JOBS.c.model_id == model_id, f"model {model_id}")
    if _is_there(session, _POLICIES.c.model_id == model_id):
        raise InUse(
            f"there are policies for model {model_id}; delete them first "
            f"(GET /v1/policies?model_id={model_id} lists them)"
        )
    session.delete(row)
    session.flush()


def remove_dataset(session: Session, dataset_id: str) -> None:
    """Delete a data set; raises NotFound, or InUse where there are jobs on it."""
    row = datasets.get(session, dataset_id)
    _refuse_with_jobs(session, _JOBS.c.dataset_id == dataset_id, f"data set {dataset_id}")
    session.delete(row)
    session.flush()


def remove_target(session: Session, target_id: str) -> None:
    """Delete a latency table; raises NotFound, or InUse where an unfinished job counts with it."""
    row = targets.get(session, target_id)
    named = _JOBS.c.spec["study", "target"].as_string() == target_id
    measured = exists().where(
        _EVENTS.c.job_id == _JOBS.c.id,
        _EVENTS.c.kind == "latency_table.ready",
        _EVENTS.c.data["target_id"].as_string() == target_id,
    )
    if _is_there(session, _JOBS.c.state.not_in(jobs.TERMINAL) & (named | measured)):
        raise InUse(f"there are unfinished jobs on target {target_id}; cancel them first")
    session.delete(row)
    session.flush()


def remove_policy(session: Session, policy_id: str) -> None:
    """Delete a policy that a user brought.

    Raises:
        NotFound: no policy has this id.
        WrongState: a job found it, and its result names it.
        InUse: there are jobs that work on it.
    """
    row = policies.get(session, policy_id)
    if row.job_id is not None:
        raise WrongState(
            f"job {row.job_id} found policy {policy_id}; it goes with the job "
            "(DELETE /v1/jobs/{id})"
        )
    _refuse_with_jobs(session, _JOBS.c.policy_id == policy_id, f"policy {policy_id}")
    session.delete(row)
    session.flush()


def remove_job(session: Session, job_id: str) -> Sequence[str]:
    """Delete a job that has ended, with its trials, events, policies and artifacts.

    Returns:
        The paths of the artifacts' bytes.

    Raises:
        NotFound: no job has this id.
        WrongState: the job has not ended.
        InUse: another job works on one of its policies or trials.
    """
    row = jobs.lock(session, job_id)
    if row.state not in jobs.TERMINAL:
        raise WrongState(f"job {job_id} is {row.state}; cancel it, then delete it")
    found = select(_POLICIES.c.id).where(_POLICIES.c.job_id == job_id)
    if _is_there(session, _JOBS.c.policy_id.in_(found)):
        raise InUse(
            f"there are jobs on the policies of job {job_id}; delete them first "
            "(GET /v1/jobs?policy_id=... lists them)"
        )
    if _is_there(session, _JOBS.c.search_id == job_id):
        raise InUse(
            f"further trials of job {job_id} are confirmed; delete those jobs first "
            "(GET /v1/jobs?search_id=... lists them)"
        )
    paths = [each.path for each in artifacts.of_job(session, job_id)]
    for table in reversed(Table.metadata.sorted_tables):
        if table is not _JOBS and "job_id" in table.c:
            session.execute(delete(table).where(table.c.job_id == job_id))
    session.delete(row)
    session.flush()
    return paths


def _refuse_with_jobs(session: Session, condition: ColumnElement[bool], what: str) -> None:
    if _is_there(session, condition):
        raise InUse(f"there are jobs on {what}; delete them first (DELETE /v1/jobs/{{id}})")


def _is_there(session: Session, condition: ColumnElement[bool]) -> bool:
    return bool(session.scalar(select(exists().where(condition))))
