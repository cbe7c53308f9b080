"""What jobs had reached after so many evaluations, as one figure: hypervolume over time."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from automl_compress.core.budget import METRICS, Metric
from automl_compress.store.points import Point

STEPS_OF_A_JOB = 60  # as many as a chart shows apart


@dataclass(frozen=True)
class Reached:
    """What a job had reached.

    hypervolume: the area below the front of the share of the cost that is kept, and accuracy on
        the search images: the mean accuracy over all budgets from 0 to the whole network.
    """

    job: int
    evaluations: float
    hypervolume: float


class Front:
    """Points of (share, accuracy) that nothing dominates, both rising."""

    def __init__(self) -> None:
        """Begin with none."""
        self._shares: list[float] = []
        self._accuracies: list[float] = []

    def add(self, share: float, accuracy: float) -> bool:
        """Take a point; say whether it changed the front."""
        before = bisect_right(self._shares, share)
        if share >= 1.0:  # as the whole network, or more: no budget is met by it
            return False
        if before and self._accuracies[before - 1] >= accuracy:
            return False
        # What follows, and costs at least as much, is beaten up to the first that is better.
        start = bisect_left(self._shares, share)
        end = bisect_right(self._accuracies, accuracy, lo=start)
        self._shares[start:end], self._accuracies[start:end] = [share], [accuracy]
        return True

    @property
    def hypervolume(self) -> float:
        """The area below the front, up to the share 1 and above the accuracy 0."""
        ends = [*self._shares, 1.0][1:]
        steps = zip(self._shares, ends, self._accuracies, strict=True)
        return sum(accuracy * (end - share) for share, end, accuracy in steps)


def reached(
    job: int, points: Sequence[Point], full: int, metric: Metric, evaluations: float
) -> list[Reached]:
    """Return the steps of a job's hypervolume, at most `STEPS_OF_A_JOB`, the last one at its end.

    Args:
        job: its place among those that are compared.
        points: in the order in which they were told.
        full: the uncut network's cost.
        metric: which cost.
        evaluations: what the job has spent by now.
    """
    front, place = Front(), METRICS.index(metric)
    steps = [
        Reached(job, point.evaluations, front.hypervolume)
        for point in points
        # No network is for nothing: where a cost is 0, nobody had counted it yet.
        if point.cost[place] and front.add(point.cost[place] / full, point.accuracy)
    ]
    if steps and evaluations > steps[-1].evaluations:
        steps.append(Reached(job, evaluations, steps[-1].hypervolume))
    return _thinned(steps)


def _thinned(steps: list[Reached]) -> list[Reached]:
    if len(steps) <= STEPS_OF_A_JOB:
        return steps
    last = len(steps) - 1
    return [steps[round(each * last / (STEPS_OF_A_JOB - 1))] for each in range(STEPS_OF_A_JOB)]
