import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_agents.reinforcement.noise import truncated_normal


@given(
    st.integers(0, 2**32),
    st.floats(-0.5, 1.5),
    st.floats(0.0, 2.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_draw_lies_in_the_interval(
    seed: int, mean: float, sigma: float, one_end: float, other_end: float
) -> None:
    lowest, highest = sorted((one_end, other_end))

    drawn = truncated_normal(np.random.default_rng(seed), mean, sigma, lowest, highest)

    assert lowest <= drawn <= highest


def test_noise_is_cut_off_not_piled_up_on_the_bounds(rng: np.random.Generator) -> None:
    drawn = [truncated_normal(rng, 0.95, 0.5, 0.0, 1.0) for _ in range(2000)]

    assert sum(value in (0.0, 1.0) for value in drawn) == 0
    # Half of a normal distribution of sigma 0.5, cut at 0.95 below: mean 0.95 - 0.5 * 0.71 or so.
    assert np.mean(drawn) == pytest.approx(0.63, abs=0.03)


def test_vanishing_noise_is_the_mean(rng: np.random.Generator) -> None:
    assert truncated_normal(rng, 0.4, 0.0, 0.0, 1.0) == 0.4
    assert truncated_normal(rng, 0.4, 1e-16, 0.0, 1.0) == pytest.approx(0.4)


def test_mean_outside_the_interval_is_moved_to_its_end(rng: np.random.Generator) -> None:
    assert truncated_normal(rng, 2.0, 0.0, 0.2, 0.7) == 0.7
