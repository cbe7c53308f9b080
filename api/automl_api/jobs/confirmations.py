"""`/v1/trials/{id}/confirm`: another trial of a search that has ended is confirmed, as a job."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy.orm import Session

from automl_api.bodies import Name, RequestBody
from automl_api.jobs.requests import Priority, Tags
from automl_api.jobs.schemas import JobBody
from automl_api.jobs.steering import described
from automl_api.jobs.submission import check_priority, own_key, put_into_queue
from automl_api.jobs.uncut import uncut_costs
from automl_api.once import IdempotencyKey, request_digest
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.core import Cost, StudySpec
from automl_compress.core.confirmation import ENGINE_FORMATS, EngineFormat
from automl_compress.core.errors import WrongState
from automl_compress.store import JobKind, JobRow, TrialRow, confirmations, jobs
from automl_compress.store import models as model_rows
from automl_compress.store import trials as trial_rows
from automl_compress.store.jobs import NewJob

router = APIRouter(prefix="/v1/trials/{trial_id}", tags=["trials"])


class NewConfirmationBody(RequestBody):
    """What of the confirmation is to be other than in the search; what is left out is alike."""

    finetune_epochs: Annotated[int, Field(ge=0, le=10_000)] | None = None
    formats: Annotated[list[EngineFormat], Field(max_length=len(ENGINE_FORMATS))] | None = None
    name: Name | None = None
    tags: Tags = Field(default_factory=dict[str, str])
    priority: Priority = 0


@router.post("/confirm", status_code=202)
def confirm_trial(
    trial_id: str,
    response: Response,
    service: ServiceDependency,
    new: NewConfirmationBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> JobBody:
    """Put into the queue that another trial of a search is cut, tuned and scored on test images.

    The search has ended. By the same settings a policy is confirmed once: again is 409
    `confirmed-already`, which names the job and the policy that are there.
    """
    told = new or NewConfirmationBody()
    check_priority(service.caller, told.priority)
    with service.database.reading() as session:
        trial = trial_rows.get(session, trial_id)
        search = jobs.get(session, trial.job_id)
        full = Cost(**uncut_costs(search, model_rows.get(session, search.model_id)))
    study = _study(search, told)
    _check_can_be_confirmed(search, trial, study, full)
    wanted = NewJob(
        name=told.name or f"{search.name}, trial {trial.number}"[:200],
        model_id=search.model_id,
        dataset_id=search.dataset_id,
        kind=JobKind.CONFIRMATION,
        search_id=search.id,
        spec=_specification(search, trial, study),
        tags=dict(told.tags),
        priority=told.priority,
        idempotency_key=own_key(service, idempotency_key),
        request_digest=request_digest({"confirm": trial_id, **told.model_dump(mode="json")}),
    )

    def check(session: Session) -> JobRow | None:
        jobs.lock(session, search.id)  # so that nobody confirms the same meanwhile
        repeated = jobs.with_key(session, wanted)
        if repeated is None:
            _check_is_first(session, search.id, trial, study.to_json()["confirmation"])
        return repeated

    made = put_into_queue(service, wanted, check)
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return described(response, service, made.id)


def _study(search: JobRow, new: NewConfirmationBody) -> StudySpec:
    """Return the search's study with the settings that this confirmation is to have."""
    study = jobs.study_of(search)
    changed = {"finetune_epochs": new.finetune_epochs, "formats": new.formats}
    told = {name: value for name, value in changed.items() if value is not None}
    return StudySpec.from_json({**study, "confirmation": {**study["confirmation"], **told}})


def _specification(search: JobRow, trial: TrialRow, study: StudySpec) -> dict[str, Any]:
    return {
        "model": search.spec["model"],
        "dataset": search.spec["dataset"],
        "study": study.to_json(),
        "confirmation": {
            "trial_number": trial.number,
            "policy_digest": confirmations.digest_of(trial),
        },
    }


def _check_can_be_confirmed(search: JobRow, trial: TrialRow, study: StudySpec, full: Cost) -> None:
    """Refuse what has not ended, and trials that could not have won.

    Raises:
        WrongState: saying which, and why.
    """
    if search.state not in jobs.TERMINAL:
        raise WrongState(
            f"job {search.id} is {search.state}; confirm further trials of it once it has ended: "
            "wait, or cancel it"
        )
    which = f"trial {trial.number} of job {search.id}"
    measured = trial_rows.to_trial(trial).measurement
    if measured is None:
        raise WrongState(f"{which} is {trial.state}; only measured trials can be confirmed")
    if trial.score is None:
        raise WrongState(
            f"{which} is a {trial.role} that was measured on {trial.images or 'all'} images and "
            "competes with no other; confirm one with a score"
        )
    if not any(budget.allows(measured.cost, full) for budget in study.budgets):
        raise WrongState(
            f"{which} costs {measured.cost.of(study.budget.metric):,} {study.budget.metric}, its "
            f"budget is {study.budget.limit(full):,}; it is not handed out, confirm a smaller one"
        )


def _check_is_first(
    session: Session, search_id: str, trial: TrialRow, confirmation: Mapping[str, Any]
) -> None:
    search = jobs.get(session, search_id)
    found = confirmations.confirmed_alike(session, search, trial, confirmation)
    if found is None:
        return
    there = "is under way" if found.policy_id is None else f"gave policy {found.policy_id}"
    raise Problem(
        409,
        "confirmed-already",
        f"the policy of trial {trial.number} is confirmed by these settings: job {found.job_id} "
        f"{there}. The test images score it once; look there, or give other finetune_epochs",
        extensions={"job_id": found.job_id, "policy_id": found.policy_id},
    )
