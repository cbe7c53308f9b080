"""What earlier jobs on a network took and reached, for those who are about to submit the next."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from automl_api.bodies import ResponseBody
from automl_compress.core import Effort, Metric
from automl_compress.store import JobRow, browsing, points
from automl_compress.store.browsing import JobFilter
from automl_compress.store.paging import LARGEST_PAGE


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


class AccuracyBody(ResponseBody):
    """How right a network within the budget may be, by what jobs on these data measured.

    searched: of the best policy within the budget, on search images and before tuning.
    confirmed: of the best confirmed one within it, tuned, on test images.
    uncut: of the uncut network, on search images.
    Each is null where nothing like this was measured.
    """

    searched: float | None
    confirmed: float | None
    uncut: float | None


def jobs_on(session: Session, model_id: str) -> Sequence[JobRow]:
    """Return the newest jobs on a network that evaluated anything."""
    rows = browsing.jobs(session, JobFilter(model_id=model_id), limit=LARGEST_PAGE).rows
    return [row for row in rows if row.evaluations > 0]


def seconds_of(rows: Sequence[JobRow], dataset_id: str, effort: Effort) -> SecondsBody | None:
    """Say how long an effort may take; None where no job on the network tells."""
    alike = [row for row in rows if row.dataset_id == dataset_id]
    told = alike or rows
    if not told:
        return None
    each = [row.elapsed_seconds / row.evaluations for row in told]
    most = effort.wall_seconds or float("inf")
    return SecondsBody(
        low=min(effort.evaluations * min(each), most),
        high=min(effort.evaluations * max(each), most),
        jobs=len(told),
        is_same_data=bool(alike),
    )


def accuracy_of(
    session: Session, rows: Sequence[JobRow], dataset_id: str, metric: Metric, limit: int
) -> AccuracyBody | None:
    """Say what was reached within a limit; None where no job had these data."""
    alike = [row for row in rows if row.dataset_id == dataset_id]
    if not alike:
        return None
    confirmed = [
        policy["test"]["accuracy"]
        for row in alike
        for policy in (row.result or {}).get("policies", ())
        if 0 < policy["test"]["cost"].get(metric, 0) <= limit
    ]
    uncut = [row.baseline["accuracy"] for row in alike if row.baseline is not None]
    return AccuracyBody(
        searched=points.best_accuracy(session, [row.id for row in alike], metric, limit),
        confirmed=max(confirmed, default=None),
        uncut=max(uncut, default=None),
    )
