import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_compress.core import Cost, Policy, Trial, TrialState
from automl_compress.search import hypervolume, non_dominated
from tests.fakes import measurement_of

POINTS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=0, max_size=12
)  # (cost, score)


def trials_of(points: list[tuple[int, int]]) -> list[Trial]:
    return [
        Trial(
            number,
            Policy(()),
            TrialState.COMPLETE,
            measurement_of(Cost(cost, 100 - cost, 7, 1), score / 10),
        )
        for number, (cost, score) in enumerate(points)
    ]


def is_dominated(point: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in others)


@given(POINTS)
def test_front_is_what_comparing_all_pairs_finds(points: list[tuple[int, int]]) -> None:
    front = non_dominated(trials_of(points), "macs")

    expected = {point for point in points if not is_dominated(point, points)}
    assert {points[trial.number] for trial in front} == expected
    assert len(front) == len(expected)
    assert [points[trial.number] for trial in front] == sorted(expected)


@given(POINTS)
def test_hypervolume_is_the_number_of_dominated_unit_squares(
    points: list[tuple[int, int]],
) -> None:
    # Points lie on a grid, so the dominated area up to (8, 0) consists of whole unit squares.
    squares = sum(
        any(cost <= x and score >= y + 1 for cost, score in points)
        for x, y in itertools.product(range(8), range(8))
    )

    assert hypervolume([(float(c), float(s)) for c, s in points], (8.0, 0.0)) == squares


def test_points_worse_than_the_reference_add_nothing() -> None:
    assert hypervolume([(9.0, 5.0), (1.0, -1.0)], (8.0, 0.0)) == 0.0


def test_front_of_another_metric_differs() -> None:
    trials = trials_of([(1, 5), (4, 5)])

    assert [trial.number for trial in non_dominated(trials, "macs")] == [0]
    assert [trial.number for trial in non_dominated(trials, "parameters")] == [1]


def test_failed_trials_are_no_part_of_the_front() -> None:
    failed = Trial(0, Policy(()), TrialState.FAILED, failure="made up")

    assert non_dominated([failed], "macs") == []


@pytest.mark.parametrize("seed", range(3))
def test_order_of_trials_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials = trials_of([(int(c), int(s)) for c, s in rng.integers(0, 6, (20, 2))])

    shuffled = [trials[index] for index in rng.permutation(len(trials))]

    assert non_dominated(shuffled, "macs") == non_dominated(trials, "macs")
