"""`/v1/jobs/{id}/stages`: what each stage of a confirmation gave."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter
from sqlalchemy.orm import Session

from automl_api.bodies import Moment, ResponseBody
from automl_api.service import ServiceDependency
from automl_compress.store import EventRow, stages
from automl_compress.store import jobs as job_rows

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


class StageBody(ResponseBody):
    """A finished stage of one network's way through the recipe `micronet`.

    trial_number: whose network it is; null for the uncut one, which is trained alike.
    stage: `prune`, `distil`, `activations`, `weights` or `fold`.
    micronet: the score behind the stage, in billionths, with norms folded; `cost` has the others.
    accuracy, correct, total: on the search images of `split`.
    wall_seconds: of the stage's own work.
    logit_change: largest change of a logit by folding, as a share of the largest logit.
    checkpoint: the artifact with the float network behind the latest stage; earlier ones went.
    """

    trial_number: int | None
    stage: str
    micronet: int
    accuracy: float
    correct: int
    total: int
    split: str
    cost: Mapping[str, int]
    wall_seconds: float
    logit_change: float | None
    checkpoint: str | None
    finished: Moment


class StagesBody(ResponseBody):
    """The finished stages of a job, in the order in which they ended; none of other recipes."""

    data: Sequence[StageBody]


@router.get("/stages")
def list_stages(job_id: str, service: ServiceDependency) -> StagesBody:
    """List the finished stages of a job."""
    with service.database.reading() as session:
        job_rows.get(session, job_id)
        return StagesBody(data=stages_of(session, job_id))


def stages_of(session: Session, job_id: str) -> list[StageBody]:
    """Return a job's finished stages."""
    return [_stage_body(row) for row in stages.of_job(session, job_id)]


def _stage_body(row: EventRow) -> StageBody:
    told, measured = row.data, row.data["measurement"]
    return StageBody(
        trial_number=told["trial_number"],
        stage=told["stage"],
        micronet=measured["cost"]["micronet"],
        accuracy=measured["accuracy"],
        correct=measured["correct"],
        total=measured["total"],
        split=measured["split"],
        cost=measured["cost"],
        wall_seconds=told["wall_seconds"],
        logit_change=told["logit_change"],
        checkpoint=told["checkpoint"],
        finished=row.created_at,
    )
