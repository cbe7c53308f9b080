"""`/v1/jobs/{id}/front`: the policies of a search that no other one beats."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session

from automl_api.bodies import ResponseBody
from automl_api.jobs.hypervolume import reached
from automl_api.jobs.uncut import uncut_costs
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.core import Metric
from automl_compress.core.trial import Fidelity
from automl_compress.store import JobRow, browsing
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store import points as point_rows
from automl_compress.store.paging import LARGEST_PAGE

router = APIRouter(prefix="/v1/jobs/{job_id}/front", tags=["jobs"])


class FrontPointBody(ResponseBody):
    """A policy that was measured.

    accuracy: on the search images; of the fidelity `confirmed` on the test images, after tuning.
    ratio: of the uncut network's cost that it keeps, in the metric that was chosen.
    policy_id: of its document, where it is confirmed.
    """

    trial_number: int
    fidelity: Fidelity
    accuracy: float
    ratio: float
    cost: Mapping[str, int]
    policy_id: str | None


class StepBody(ResponseBody):
    """What a search had reached: its hypervolume once so many evaluations were spent."""

    evaluations: float
    hypervolume: float


class FrontBody(ResponseBody):
    """The front of a search, the cheapest policy first.

    metric: of the costs; metrics: those that it may be.
    uncut: what the uncut network costs.
    points: trials of which none is both cheaper and better, at most the 200 best, and every policy
        that is confirmed.
    reached: hypervolume over time: the area below the front of ratio and accuracy.
    """

    metric: str
    metrics: list[str]
    uncut: Mapping[str, int]
    points: list[FrontPointBody]
    reached: list[StepBody]


@router.get("")
def get_front(
    job_id: str,
    service: ServiceDependency,
    metric: Metric | None = None,
    fidelity: Fidelity | None = None,
) -> FrontBody:
    """Give the policies of a search that no other one beats, in cost and accuracy.

    The cost is that of the job's budget unless `metric` is told; `fidelity` chooses points.
    """
    with service.database.reading() as session:
        row = job_rows.get(session, job_id)
        wanted = metric or job_rows.study_of(row)["budget"]["metric"]
        uncut = uncut_costs(row, model_rows.get(session, row.model_id))
        if wanted not in uncut:
            detail = f"{wanted!r} is not told of this network; choose: {', '.join(uncut)}"
            errors = [{"parameter": "metric", "detail": detail}]
            raise Problem(422, "invalid", detail, errors=errors)
        points = [*_searched(session, row, wanted, uncut), *_confirmed(row, wanted, uncut)]
        told = point_rows.points(session, row.id)
        steps = reached(0, told, uncut[wanted], wanted, row.evaluations)
    return FrontBody(
        metric=wanted,
        metrics=list(uncut),
        uncut=uncut,
        points=sorted(
            (each for each in points if fidelity in (None, each.fidelity)),
            key=lambda each: each.ratio,
        ),
        reached=[StepBody(evaluations=e.evaluations, hypervolume=e.hypervolume) for e in steps],
    )


def _searched(
    session: Session, job: JobRow, metric: Metric, uncut: Mapping[str, int]
) -> list[FrontPointBody]:
    return [
        _point(row.number, "proxy", row.measurement or {}, metric, uncut)
        for row in browsing.front(session, job.id, metric, LARGEST_PAGE)
    ]


def _confirmed(job: JobRow, metric: Metric, uncut: Mapping[str, int]) -> list[FrontPointBody]:
    return [
        _point(each["trial_number"], "confirmed", each["test"], metric, uncut, each["policy_id"])
        for each in (job.result or {}).get("policies", [])
        if metric in each["test"]["cost"]  # those of before it was counted do not tell it
    ]


def _point(
    number: int,
    fidelity: Fidelity,
    measured: Mapping[str, Any],
    metric: Metric,
    uncut: Mapping[str, int],
    policy_id: str | None = None,
) -> FrontPointBody:
    return FrontPointBody(
        trial_number=number,
        fidelity=fidelity,
        accuracy=measured["accuracy"],
        ratio=measured["cost"][metric] / uncut[metric],
        cost=measured["cost"],
        policy_id=policy_id,
    )
