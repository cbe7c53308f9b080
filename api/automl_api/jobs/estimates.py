"""`/v1/estimates`: what a job would have to do, before it is submitted."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from automl_api.bodies import ResponseBody
from automl_api.dashboard.experience import experience
from automl_api.jobs.requests import NewJobBody
from automl_api.jobs.submission import check_fits, check_searcher, registered, space_of
from automl_api.service import Service, ServiceDependency
from automl_compress.store import browsing
from automl_compress.store.browsing import JobFilter
from automl_compress.store.jobs import ACTIVE
from automl_compress.store.paging import LARGEST_PAGE

router = APIRouter(prefix="/v1/estimates", tags=["jobs"])


class SecondsBody(ResponseBody):
    """How long the search may take, without the confirmation.

    low, high: what the fastest and the slowest of `jobs` finished or running jobs took for an
        evaluation, times the evaluations; at most the effort's wall seconds.
    is_same_data: whether those jobs had these data too, or the network alone.
    """

    low: float
    high: float
    jobs: int
    is_same_data: bool


class EstimateBody(ResponseBody):
    """What a job would have to do; nothing is stored.

    decisions: how many choices make a policy.
    uncut, smallest: what the uncut network costs, and the smallest that the space can reach.
    limit: of the budget, in its metric; `is_reachable` says whether `smallest` is within it.
    seconds: null where no job on this network has evaluated anything yet.
    jobs_ahead: jobs of everybody that have not ended.
    """

    decisions: int
    metric: str
    uncut: Mapping[str, int]
    smallest: Mapping[str, int]
    limit: int
    is_reachable: bool
    seconds: SecondsBody | None
    jobs_ahead: int


@router.post("")
def estimate(new: NewJobBody, service: ServiceDependency) -> EstimateBody:
    """Say what a job would have to do: decisions, the smallest cost, time; nothing is stored."""
    model, dataset = registered(service, new)
    study = new.study.specification()
    check_fits(model, dataset)
    check_searcher(study)
    space = space_of(model, study)
    budget, smallest = study.budgets[-1], space.costs.cost(space.smallest)
    return EstimateBody(
        decisions=len(space.decisions),
        metric=budget.metric,
        uncut=space.full.to_json(),
        smallest=smallest.to_json(),
        limit=budget.limit(space.full),
        is_reachable=budget.allows(smallest, space.full),
        seconds=_seconds(service, new),
        jobs_ahead=_jobs_ahead(service),
    )


def _seconds(service: Service, new: NewJobBody) -> SecondsBody | None:
    with service.database.reading() as session:
        rows = browsing.jobs(session, JobFilter(model_id=new.model_id), limit=LARGEST_PAGE).rows
    known = experience(rows)
    alike = [each for each in known if each["dataset"] == new.dataset_id]
    told: list[dict[str, Any]] = alike or known
    if not told:
        return None
    each = [one["seconds"] for one in told]
    effort = new.study.effort
    most = effort.wall_seconds or float("inf")
    return SecondsBody(
        low=min(effort.evaluations * min(each), most),
        high=min(effort.evaluations * max(each), most),
        jobs=len(told),
        is_same_data=bool(alike),
    )


def _jobs_ahead(service: Service) -> int:
    with service.everything.reading() as session:
        states = browsing.jobs_in_states(session)
    return sum(count for state, count in states.items() if state in ACTIVE)
