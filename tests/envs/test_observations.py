import numpy as np
import pytest

from automl_compress.core import Budget
from automl_compress.core.errors import UnknownName
from automl_envs.observation_catalogue import create_observation
from automl_envs.observations import CorrectedObservation, PublishedObservation
from automl_envs.walk import LayerWalk, WalkRules
from tests.fakes import plain_graph, residual_graph, space_of

# Three 3x3 convolutions at 8x8 and a classifier: 3 -> 8 -> 16 -> 24 -> 10.
# MACs: 64 * 9 * (24, 128, 384) and 240: 13,824 + 73,728 + 221,184 + 240 = 308,976.
# Weights: 216, 1,152, 3,456, 240: 5,064.
MACS = np.array([13_824, 73_728, 221_184, 240])
GRAPH = plain_graph((8, 16, 24))


def walk_of(limit: str, graph=GRAPH, ratio: float = 0.9) -> LayerWalk:
    return LayerWalk(space_of(graph, max_sparsity=0.75), Budget("macs", ratio), WalkRules(limit))


def feature(observation, walk: LayerWalk, name: str) -> float:
    return float(observation.observe(walk)[observation.features.index(name)])


def test_published_form_has_the_ten_features_of_the_code() -> None:
    walk = walk_of("published")
    observation = PublishedObservation(walk)

    first = observation.observe(walk)

    assert first.shape == (10,)
    assert first.dtype == np.float32
    # index, type, in and out channels: their smallest; stride 1 and kernel 3 are constant and
    # stay as they are; weights: the smallest.
    assert first[:7].tolist() == [0, 0, 0, 0, 1, 3, 0]
    assert first[9] == 1.0


def test_published_columns_are_scaled_from_smallest_to_largest() -> None:
    walk = walk_of("published")
    walk.step([1.0])

    second = PublishedObservation(walk).observe(walk)

    # in channels 3, 8, 16; out channels 8, 16, 24; weights 216, 1152, 3456
    assert second[[0, 2, 3, 6]] == pytest.approx([0.5, 5 / 13, 0.5, 936 / 3240])


def test_published_rest_begins_in_weights_and_goes_on_in_macs() -> None:
    walk = walk_of("published")
    observation = PublishedObservation(walk)

    rest = []
    while not walk.is_done:
        rest.append(feature(observation, walk, "rest"))
        walk.step([0.5])

    expected = [(5_064 - 216) / 5_064, MACS[2:].sum() / MACS.sum(), MACS[3:].sum() / MACS.sum()]
    assert rest == pytest.approx(expected)


def test_published_rest_always_holds_every_depthwise_layer() -> None:
    with_depthwise = residual_graph(depthwise=True)
    walk = walk_of("published", with_depthwise)
    observation = PublishedObservation(walk)
    depthwise_macs = 64 * 9 * 16
    total = walk.space.full.macs

    for _ in range(8):
        walk.step([0.5])

    # The last group is a block's inner one: behind its first layer are the depthwise layer,
    # its second 3x3 (64 * 64 * 9 at 4x4) and the classifier.
    behind = depthwise_macs + 64 * 64 * 9 * 16 + 640
    assert feature(observation, walk, "rest") == pytest.approx(behind / total)


def test_published_reduced_counts_groups_to_come_as_cut_already() -> None:
    walk = walk_of("published")
    observation = PublishedObservation(walk)
    assert feature(observation, walk, "reduced") == 0.0

    walk.step([1.0])

    # widths 8, round(3.2) -> 4 (the space's smallest), round(4.8) -> 6
    left = 576 * (24 + 32 + 24) + 60
    assert feature(observation, walk, "reduced") == pytest.approx(1 - left / MACS.sum())


def test_published_terminal_observation_is_that_of_the_last_decision() -> None:
    walk = walk_of("published")
    observation = PublishedObservation(walk)
    walk.step([0.5])
    walk.step([0.5])
    last = observation.observe(walk)

    walk.step([0.5])

    assert np.array_equal(observation.observe(walk), last)


def test_corrected_account_counts_decided_groups_only() -> None:
    walk = walk_of("bound")
    observation = CorrectedObservation(walk)
    smallest = 576 * (6 + 8 + 24) + 60  # widths 2, 4, 6
    assert feature(observation, walk, "reduced") == 0.0
    assert feature(observation, walk, "rest") == pytest.approx(1 - smallest / MACS.sum())
    assert feature(observation, walk, "previous_keep") == 1.0

    walk.step([0.5])

    left = 576 * (12 + 64 + 384) + 240  # widths 4, 16, 24
    at_least = 576 * (12 + 16 + 24) + 60  # widths 4, 4, 6
    assert feature(observation, walk, "reduced") == pytest.approx(1 - left / MACS.sum())
    assert feature(observation, walk, "rest") == pytest.approx((left - at_least) / MACS.sum())
    assert feature(observation, walk, "previous_keep") == 0.5


def test_corrected_rest_is_nothing_when_all_is_decided() -> None:
    walk = walk_of("bound")
    observation = CorrectedObservation(walk)

    while not walk.is_done:
        walk.step([0.5])

    assert feature(observation, walk, "rest") == 0.0


def test_corrected_form_tells_equal_layers_at_different_resolutions_apart() -> None:
    walk = walk_of("scale", residual_graph((16, 16, 16), depthwise=False))
    observation = CorrectedObservation(walk)

    rows = []
    while not walk.is_done:
        rows.append(observation.observe(walk))
        walk.step([1.0])

    sizes = [row[observation.features.index("height")] for row in rows]
    # 16, 8, 4 rows
    assert sizes == pytest.approx([1.0] * 3 + [1 / 3] * 3 + [0.0] * 3)


@pytest.mark.parametrize("name", ["published", "corrected"])
@pytest.mark.parametrize("graph", [plain_graph((8,)), plain_graph((16, 16)), residual_graph()])
def test_features_stay_between_zero_and_their_highest(name: str, graph, rng) -> None:
    walk = walk_of("published" if name == "published" else "scale", graph)
    observation = create_observation(name, walk)

    for _ in range(5):
        walk.reset()
        while not walk.is_done:
            walk.step([rng.uniform()])
            row = observation.observe(walk)
            assert row.shape == (len(observation.features),)
            assert np.all((row >= 0) & (row <= observation.highest))


def test_corrected_features_of_a_single_group_lie_in_the_unit_interval() -> None:
    walk = walk_of("scale", plain_graph((8,)))

    assert CorrectedObservation(walk).highest.tolist() == [1.0] * 13


def test_unknown_observation_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="corrected, decisions, graph, published"):
        create_observation("picture", walk_of("scale"))
