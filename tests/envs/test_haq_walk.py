import numpy as np
import pytest

from automl_compress.core import Budget
from automl_compress.core.errors import InvalidInput
from automl_envs.haq_observation import HaqObservation
from automl_envs.haq_walk import HaqWalk, published_bits, sweep_to_budget
from tests.fakes import plain_graph, residual_graph, space_of

# Two 3x3 convolutions at 8x8 and a classifier: 3 -> 8 -> 16 -> 10 channels.
# MACs: 13,824 + 73,728 + 160 = 87,712, each times weight bits times activation bits.
MACS = np.array([13_824, 73_728, 160])
BITS = {"weight_bits": (2, 3, 4, 5, 6, 7, 8), "activation_bits": (2, 3, 4, 5, 6, 7, 8)}
SPACE = space_of(plain_graph((8, 16)), schemes=(), edge_bits=None, **BITS)
FLOAT = MACS.sum() * 32 * 32


def budget_of(operations: float) -> Budget:
    return Budget("bit_operations", float(operations / FLOAT) + 1e-12)


def bits(walk: HaqWalk) -> list[list[int]]:
    """Of each layer its weight and activation bits."""
    return np.array(walk.setting[2:]).reshape(2, 3).T.tolist()


@pytest.mark.parametrize(
    ("action", "fewest", "most", "expected"),
    [
        (0.0, 2, 8, 2),  # 1.5, half to even
        (0.01, 2, 8, 2),
        (0.14, 2, 8, 2),  # 2.48
        (0.15, 2, 8, 3),  # 2.55: bins are a seventh wide
        (0.5, 2, 8, 5),
        (1.0, 2, 8, 8),  # 8.5, half to even
        (0.0, 1, 8, 0),  # 0.5, half to even
        (0.125, 1, 8, 2),  # 1.5
        (0.25, 1, 8, 2),  # 2.5
        (1.0, 1, 8, 8),
        (1.0, 3, 7, 8),  # 7.5
    ],
)
def test_published_map_rounds_half_to_even(
    action: float, fewest: int, most: int, expected: int
) -> None:
    assert published_bits(action, fewest, most) == expected


def test_every_layer_has_a_step_for_its_weights_then_one_for_its_activations() -> None:
    walk = HaqWalk(SPACE, budget_of(FLOAT / 16))

    names = [SPACE.decisions[site.decisions[0]].name for site in walk.order]

    layers = ("convolution0", "convolution1", "classifier")
    assert names == [f"{kind}.{each}" for each in layers for kind in BITS]


def test_actions_become_the_nearest_allowed_bits() -> None:
    space = space_of(
        plain_graph((8, 16)), schemes=(), edge_bits=None, weight_bits=(1, 2, 4, 8),
        activation_bits=(4, 16),
    )  # fmt: skip
    walk = HaqWalk(space, Budget("bit_operations", 1.0))

    # 0 bits, the nearest is 1; round(10 - 0.5 + ...) of 4 to 16: 3.5 + 0.4 * 13 = 8.7, nearest 4.
    for action in (0.0, 0.4, 0.75, 0.6, 1.0, 1.0):
        walk.step([action])

    # 0.5 + 0.75 * 8 = 6.5, half to even 6, as near to 4 as to 8: the fewer.
    assert bits(walk) == [[1, 4], [4, 16], [8, 16]]


def test_sweep_begins_at_the_last_layer_with_its_activations() -> None:
    """All at 8 bits: 64 a MAC. The target is what one bit less on three decisions leaves."""
    target = MACS @ [64, 7 * 8, 7 * 7]
    walk = HaqWalk(SPACE, budget_of(target))

    for _ in range(6):
        walk.step([1.0])

    # classifier: activations, then weights; convolution1: activations alone, and it is met.
    assert bits(walk) == [[8, 8], [8, 7], [7, 7]]


def test_sweeps_are_repeated_and_the_fewest_bits_stay() -> None:
    # A sweep takes all to 7 bits, the next the classifier (2 at the least) and convolution1.
    walk = HaqWalk(SPACE, budget_of(MACS @ [49, 36, 4]))

    for action in (1.0, 1.0, 1.0, 1.0, 0.0, 0.0):
        walk.step([action])

    assert bits(walk) == [[7, 7], [6, 6], [2, 2]]


def test_sweep_leaves_what_is_within_the_budget() -> None:
    walk = HaqWalk(SPACE, budget_of(FLOAT / 16))

    for action in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        walk.step([action])

    assert bits(walk) == [[2, 3], [4, 6], [7, 8]]


@pytest.mark.parametrize("metric", ["size_bytes", "bit_operations"])
def test_no_episode_ends_over_the_budget(metric: str, rng: np.random.Generator) -> None:
    space = space_of(residual_graph(), schemes=(), weight_bits=(1, 2, 4, 8), activation_bits=(4, 8))
    budget = Budget(metric, 0.12 if metric == "size_bytes" else 0.01)  # type: ignore[arg-type]
    walk = HaqWalk(space, budget)

    for _ in range(5):
        walk.reset()
        while not walk.is_done:
            walk.step([rng.uniform()])
        assert space.within(walk.setting, budget)
        assert all(v in allowed for v, allowed in zip(walk.setting, space.allowed, strict=True))


def test_sweep_leaves_decisions_outside_its_order() -> None:
    order = [2, 3]  # the weight bits of both convolutions

    swept = sweep_to_budget(SPACE, order, SPACE.largest, budget_of(MACS @ [64, 24, 64]))

    # 7 and 7, 6 and 6 ... until both have 3, before convolution0 loses its last one.
    assert swept[2:] == [4, 3, 8, 8, 8, 8]


def test_more_than_bits_is_refused() -> None:
    with pytest.raises(InvalidInput, match="bits alone, and here width, weight_bits"):
        HaqWalk(space_of(plain_graph((8, 16)), **BITS), Budget("bit_operations", 0.1))


def test_linear_form_observes_ten_features_with_what_is_odd_about_them() -> None:
    walk = HaqWalk(SPACE, budget_of(FLOAT / 16))
    observation = HaqObservation(walk)
    rows = [observation.observe(walk)]
    for action in (0.5, 1.0, 0.0, 0.3, 0.4):
        walk.step([action])
        rows.append(observation.observe(walk))
    seen = np.stack(rows)

    def column(name: str) -> list[float]:
        return seen[:, observation.features.index(name)].tolist()

    assert seen.shape == (6, 10)
    assert column("index") == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]
    assert column("weights") == pytest.approx(
        [(w - 160) / 992 for w in (216, 216, 1152, 1152, 160, 160)]
    )
    assert column("input_size") == [1.0] * 4 + [0.0] * 2  # 64 positions, then one
    assert column("previous_bits") == [1.0, 5 / 8, 1.0, 2 / 8, 4 / 8, 4 / 8]
    assert column("is_activation") == [1.0, 1.0, 0.0, 1.0, 0.0, 1.0]


def test_k_means_form_observes_nine_features_and_raw_bits() -> None:
    space = space_of(plain_graph((8, 16)), schemes=(), edge_bits=None, weight_bits=(2, 4, 8))
    walk = HaqWalk(space, Budget("size_bytes", 0.5))
    observation = HaqObservation(walk)

    first = observation.observe(walk)
    walk.step([1.0])

    assert (len(first), first[-1]) == (9, 4.0)
    assert observation.observe(walk)[-1] == 8.0
    assert observation.highest[-1] == 8.0
