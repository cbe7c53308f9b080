"""What the trials of a job cost and scored, in the order in which they were told."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from automl_compress.core.budget import METRICS, Metric
from automl_compress.store.tables import TrialRow
from automl_compress.store.trials import FAILED_EVALUATIONS


@dataclass(frozen=True, slots=True)
class Point:
    """A trial that competes.

    evaluations: what the search had spent once this trial was told.
    cost: by `METRICS`, in their order.
    """

    number: int
    evaluations: float
    score: float
    accuracy: float
    cost: tuple[int, ...]
    note: str


def points(session: Session, job_id: str) -> Sequence[Point]:
    """Return the trials that compete, in the order in which they were told; no policies."""
    measured = TrialRow.measurement
    query = (
        select(
            TrialRow.number,
            TrialRow.score,
            TrialRow.note,
            measured["evaluations"].as_float(),
            measured["accuracy"].as_float(),
            *(measured["cost", metric].as_float() for metric in METRICS),
        )
        .where(TrialRow.job_id == job_id, TrialRow.told_position.is_not(None))
        .order_by(TrialRow.told_position)
    )
    found: list[Point] = []
    spent = 0.0
    for number, score, note, evaluations, accuracy, *cost in session.execute(query):
        spent += FAILED_EVALUATIONS if evaluations is None else evaluations
        if score is not None:
            costs = tuple(int(each or 0) for each in cost)
            found.append(Point(number, spent, score, accuracy, costs, note))
    return found


def best_accuracy(
    session: Session, job_ids: Sequence[str], metric: Metric, limit: int
) -> float | None:
    """Return the best accuracy of the jobs' competing trials that cost at most `limit`."""
    measured = TrialRow.measurement
    query = select(func.max(measured["accuracy"].as_float())).where(
        TrialRow.job_id.in_(job_ids),
        TrialRow.score.is_not(None),
        measured["cost", metric].as_float().between(1, limit),  # 0 was told of what nobody counted
    )
    return session.scalar(query)
