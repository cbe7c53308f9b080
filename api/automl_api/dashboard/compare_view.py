"""Everything that the page shows on which jobs are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from automl_api.dashboard.configuration import Difference, differences, flattened
from automl_api.dashboard.fronts import unbeaten
from automl_api.dashboard.spread import Series, by_seed
from automl_api.jobs.hypervolume import Reached, reached
from automl_api.jobs.schemas import JobBody, job_body
from automl_api.jobs.uncut import uncut_costs
from automl_compress.core import Metric
from automl_compress.core.canonical import canonical_json
from automl_compress.core.errors import InvalidInput
from automl_compress.store import DatasetRow, ModelRow, browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store import points as point_rows

MOST_JOBS = 8  # as many as there are colours and symbols that tell apart
POINTS_OF_A_JOB = 50


@dataclass(frozen=True)
class Point:
    """A measured policy of one job.

    share: of the uncut network's cost that is kept, in the chosen metric.
    accuracy: on the search images; on the test images where it is confirmed.
    is_on_front: no searched policy of any of the jobs is both cheaper and better.
    """

    job: int
    number: int
    is_confirmed: bool
    cost: Mapping[str, int]
    share: float
    accuracy: float
    is_on_front: bool = False


@dataclass(frozen=True)
class Compared:
    """A job, its network and its data."""

    job: JobBody
    model_name: str
    dataset_name: str
    confirmed: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class CompareView:
    """Some jobs side by side.

    metric: of the axis; metrics: those that it may be.
    is_same_network, is_same_data: without either, accuracies and costs do not compare.
    reached: the hypervolume of each job over its evaluations.
    series: the jobs, those that differ by nothing but their seeds taken together.
    differing, equal: what the jobs' configurations say, one value for each job.
    """

    jobs: Sequence[Compared]
    metric: str
    metrics: Sequence[str]
    is_same_network: bool
    is_same_data: bool
    points: Sequence[Point]
    reached: Sequence[Reached]
    series: Sequence[Series]
    differing: Sequence[Difference]
    equal: Sequence[Difference]


def compare_view(session: Session, job_ids: Sequence[str], metric: Metric | None) -> CompareView:
    """Read jobs and what they found.

    Args:
        session: the transaction.
        job_ids: 1 to `MOST_JOBS`, repetitions are dropped.
        metric: of the axis; None takes that of the first job's budget.

    Raises:
        NotFound: there is no such job.
        InvalidInput: there are too many jobs, or none, one is no search, or its network does not
            tell the metric.
    """
    rows = [job_rows.get(session, each) for each in _distinct(job_ids)]
    models = [model_rows.get(session, row.model_id) for row in rows]
    datasets = [dataset_rows.get(session, row.data_id) for row in rows]
    studies, bodies = [job_rows.study_of(row) for row in rows], [job_body(row) for row in rows]
    totals = [uncut_costs(row, model) for row, model in zip(rows, models, strict=True)]
    metrics = [name for name in totals[0] if all(name in each for each in totals)]
    chosen = _told_of_all(metric or studies[0]["budget"]["metric"], metrics)
    points = [
        point
        for index, body in enumerate(bodies)
        for point in _points(session, index, body, totals[index], chosen)
    ]
    networks, data = [_network(each) for each in models], [_data(each) for each in datasets]
    told = [
        flattened({"network": model.name, "weights": network, "data": dataset.name, **study})
        for model, network, dataset, study in zip(models, networks, datasets, studies, strict=True)
    ]
    differing, equal = differences(told)
    is_same_data = len(set(data)) == 1
    return CompareView(
        jobs=[
            Compared(body, model.name, dataset.name, (body.result or {}).get("policies", []))
            for body, model, dataset in zip(bodies, models, datasets, strict=True)
        ],
        metric=chosen,
        metrics=metrics,
        is_same_network=len(set(networks)) == 1,
        is_same_data=is_same_data,
        points=_with_front(points) if is_same_data else points,
        reached=[
            step
            for index, body in enumerate(bodies)
            for step in _reached(session, index, body, totals[index], chosen)
        ],
        series=by_seed(bodies, [f"{n} {d}" for n, d in zip(networks, data, strict=True)]),
        differing=differing,
        equal=equal,
    )


def _distinct(job_ids: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(job_ids))
    if not 1 <= len(wanted) <= MOST_JOBS:
        raise InvalidInput(
            f"{len(wanted)} jobs are to be compared; choose 2 to {MOST_JOBS} in the list of jobs"
        )
    return wanted


def _told_of_all(metric: Metric, metrics: Sequence[str]) -> Metric:
    if metric not in metrics:
        raise InvalidInput(
            f"{metric!r} is not told of these networks; choose: {', '.join(metrics)}"
        )
    return metric


def _points(
    session: Session, index: int, job: JobBody, full: Mapping[str, int], metric: Metric
) -> list[Point]:
    front = browsing.front(session, job.id, metric, POINTS_OF_A_JOB)
    told = [(row.number, False, row.measurement or {}) for row in front]
    confirmed = (job.result or {}).get("policies", [])
    told += [(each["trial_number"], True, each["test"]) for each in confirmed]
    return [
        Point(
            job=index,
            number=number,
            is_confirmed=is_confirmed,
            cost=measured["cost"],
            share=measured["cost"][metric] / full[metric],
            accuracy=measured["accuracy"],
        )
        for number, is_confirmed, measured in told
        if metric in measured["cost"]  # those of before it was counted do not tell it
    ]


def _reached(
    session: Session, index: int, job: JobBody, full: Mapping[str, int], metric: Metric
) -> list[Reached]:
    told = point_rows.points(session, job.id)
    return reached(index, told, full[metric], metric, job.progress.evaluations)


def _with_front(points: Sequence[Point]) -> list[Point]:
    """Mark the joint front; the order stays."""
    searched = [place for place, point in enumerate(points) if not point.is_confirmed]
    told = [(points[place].share, points[place].accuracy) for place in searched]
    front = {searched[each] for each in unbeaten(told)}
    return [replace(each, is_on_front=place in front) for place, each in enumerate(points)]


def _network(row: ModelRow) -> str:
    """Tell a network from others, also where it was registered twice."""
    return canonical_json(row.details["fingerprint"])


def _data(row: DatasetRow) -> str:
    return canonical_json([row.details, row.source["kind"], row.source["location"]])
