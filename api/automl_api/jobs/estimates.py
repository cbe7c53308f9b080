"""`/v1/estimates`: what a job would have to do, before it is submitted."""

from collections.abc import Mapping

from fastapi import APIRouter

from automl_api.bodies import ResponseBody
from automl_api.jobs.disk_use import disk_bytes
from automl_api.jobs.experience import AccuracyBody, SecondsBody, accuracy_of, jobs_on, seconds_of
from automl_api.jobs.requests import NewJobBody
from automl_api.jobs.searcher_checks import check_searcher, check_serves
from automl_api.jobs.specified import specified
from automl_api.jobs.submission import (
    check_fits,
    check_images,
    registered,
    space_of,
    table_of,
)
from automl_api.service import Service, ServiceDependency
from automl_compress.store import activity
from automl_compress.store.jobs import ACTIVE

router = APIRouter(prefix="/v1/estimates", tags=["jobs"])


class EstimateBody(ResponseBody):
    """What a job would have to do; nothing is stored.

    decisions: how many choices make a policy.
    uncut, smallest: what the uncut network costs, and the smallest that the space can reach.
    limit: of the budget, in its metric; `is_reachable` says whether `smallest` is within it. Both
        are null, and `uncut` and `smallest` lack the metric, where it is the latency on a target
        whose table a worker measures first, when the job begins.
    seconds: null where no job on this network has evaluated anything yet.
    accuracy: null where none on it and these data has.
    disk_bytes: at most so much is taken by the files of the policies that it confirms.
    jobs_ahead: jobs of everybody that have not ended.
    """

    decisions: int
    metric: str
    uncut: Mapping[str, int]
    smallest: Mapping[str, int]
    limit: int | None
    is_reachable: bool | None
    seconds: SecondsBody | None
    accuracy: AccuracyBody | None
    disk_bytes: int
    jobs_ahead: int


@router.post("")
def estimate(new: NewJobBody, service: ServiceDependency) -> EstimateBody:
    """Say what a job would have to do and may reach; nothing is stored."""
    model, dataset = registered(service, new)
    study = specified(new.study)
    check_fits(model, dataset)
    check_images(dataset, study)
    check_searcher(study)
    space = space_of(model, study, table_of(service, study))
    budget, smallest = study.budgets[-1], space.costs.cost(space.smallest)
    limit = is_reachable = None
    if space.full.of(budget.metric):
        limit, is_reachable = budget.limit(space.full), budget.allows(smallest, space.full)
    if is_reachable is not False:
        check_serves(study, space)
    with service.database.reading() as session:
        rows = jobs_on(session, model.id)
        accuracy = accuracy_of(session, rows, dataset.id, budget.metric, limit or 0)
    return EstimateBody(
        decisions=len(space.decisions),
        metric=budget.metric,
        uncut=space.full.to_json(),
        smallest=smallest.to_json(),
        limit=limit,
        is_reachable=is_reachable,
        seconds=seconds_of(rows, dataset.id, study.effort),
        accuracy=accuracy,
        disk_bytes=disk_bytes(study, space.full, len(model.details["graph"]["layers"])),
        jobs_ahead=_jobs_ahead(service),
    )


def _jobs_ahead(service: Service) -> int:
    with service.everything.reading() as session:
        states = activity.jobs_in_states(session)
    return sum(count for state, count in states.items() if state in ACTIVE)
