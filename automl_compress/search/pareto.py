"""The trials between which only taste can choose: cheaper ones score less."""

from collections.abc import Iterable, Sequence

from automl_compress.core import Metric, Trial


def non_dominated(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    """Return the complete trials that no other one beats in both cost and score.

    Of trials that are equal in both, the one with the lowest number stays.

    Args:
        trials: in any order; those that cannot win are left out.
        metric: the cost that counts, lower is better; the score counts as higher is better.

    Returns:
        By ascending cost, and so by ascending score.
    """
    measured = [
        (each.measurement.cost.of(metric), -each.score, each.number, each)
        for each in trials
        if each.measurement is not None and each.score is not None
    ]
    front: list[Trial] = []
    best = float("inf")
    for _, loss, _, trial in sorted(measured, key=lambda entry: entry[:3]):
        if loss < best:
            front.append(trial)
            best = loss
    return front


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the area that points dominate: of (cost, score) pairs, up to the reference.

    Args:
        points: (cost, score), lower cost and higher score are better; dominated ones and those
            that are worse than the reference in either add nothing.
        reference: the worst cost and the worst score that count.

    Returns:
        In cost units times score units, at least 0.

    Source: the hypervolume indicator of Zitzler and Thiele (1998), in two dimensions.
    """
    worst_cost, floor = reference
    area = 0.0
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if cost < worst_cost and score > floor:
            area += (worst_cost - cost) * (score - floor)
            floor = score
    return area
