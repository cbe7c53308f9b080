import numpy as np
import pytest

from automl_compress.core import Budget
from automl_compress.core.errors import InvalidInput
from automl_envs.decision_state import DecisionsObservation
from automl_envs.network_graph import network_graph
from automl_envs.observation_catalogue import create_observation
from automl_envs.site_observation import SiteObservation
from automl_envs.walk import LayerWalk, WalkRules
from tests.fakes import plain_graph, residual_graph, space_of

# Two 3x3 convolutions at 8x8 and a classifier: 3 -> 8 -> 16 -> 10 channels.
# MACs 13,824, 73,728, 160; weights 216, 1,152, 160.
MACS = np.array([13_824, 73_728, 160])
OPTIONS = {"weight_bits": (2, 4, 8), "activation_bits": (4, 8), "edge_bits": None}
SPACE = space_of(plain_graph((8, 16)), max_sparsity=0.5, **OPTIONS)


def walk_of(space=SPACE, ratio: float = 0.02) -> LayerWalk:
    return LayerWalk(space, Budget("bit_operations", ratio), WalkRules())


def feature(observation, walk: LayerWalk, name: str) -> float:
    return float(observation.observe(walk)[observation.features.index(name)])


def test_features_of_the_layer_are_those_of_amc_and_haq() -> None:
    walk = walk_of()
    observation = SiteObservation(walk)
    rows = []
    while not walk.is_done:
        rows.append(dict(zip(observation.features, observation.observe(walk), strict=True)))
        walk.step([1.0, 1.0, 1.0])

    assert [row["is_linear"] for row in rows] == [0, 0, 1]
    assert [row["weights"] for row in rows] == pytest.approx([56 / 992, 1, 0])
    assert [row["input_size"] for row in rows] == [1, 1, 0]
    macs = MACS / MACS.sum()
    assert [row["macs_share"] for row in rows] == pytest.approx(
        (macs - macs.min()) / (macs.max() - macs.min())
    )


def test_depthwise_layers_are_told_apart() -> None:
    walk = walk_of(space_of(residual_graph((8, 8, 8)), **OPTIONS))
    observation = SiteObservation(walk)

    flagged = []
    while not walk.is_done:
        if feature(observation, walk, "is_depthwise"):
            flagged.append(walk.site.layer)
        walk.step([1.0, 1.0, 1.0])

    assert flagged == ["stage2.block1.depthwise"]


def test_components_that_count_here_are_named() -> None:
    walk = walk_of()
    observation = SiteObservation(walk)
    walk.step([1.0, 1.0, 1.0])
    walk.step([1.0, 1.0, 1.0])

    # The classifier produces no group.
    assert feature(observation, walk, "decides.width") == 0.0
    assert feature(observation, walk, "decides.weight_bits") == 1.0


def test_account_is_in_the_budgets_metric_between_dearest_and_cheapest() -> None:
    walk = walk_of()
    observation = SiteObservation(walk)
    dearest = MACS.sum() * 64
    cheapest = (64 * 9 * (3 * 4 + 4 * 8) + 10 * 8) * 8  # half the widths, 2 and 4 bits
    span = dearest - cheapest
    assert feature(observation, walk, "reduced") == 0.0
    assert feature(observation, walk, "rest") == 1.0
    assert feature(observation, walk, "weights_left") == 1.0

    walk.step([0.5, 2 / 3, 1.0])  # 4 channels, 4 and 8 bits

    left = MACS @ [0.5 * 32, 0.5 * 64, 64]
    at_least = 64 * 9 * (3 * 4 * 32 + 4 * 8 * 8) + 80 * 8
    assert feature(observation, walk, "reduced") == pytest.approx((dearest - left) / span)
    assert feature(observation, walk, "rest") == pytest.approx((left - at_least) / span)
    # Half of convolution1's inputs are gone.
    assert feature(observation, walk, "weights_left") == 0.5
    previous = [feature(observation, walk, f"previous.{kind}") for kind in walk.kinds]
    assert previous == pytest.approx([0.5, 2 / 3, 1.0])


@pytest.mark.parametrize("name", ["corrected", "graph", "decisions"])
@pytest.mark.parametrize("schemes", [(), ("channel",), ("channel", "element")])
def test_features_stay_in_the_unit_interval(name: str, schemes, rng: np.random.Generator) -> None:
    walk = walk_of(space_of(residual_graph(), schemes=schemes, **OPTIONS))
    observation = create_observation(name, walk)

    for _ in range(3):
        walk.reset()
        while not walk.is_done:
            walk.step(rng.uniform(size=len(walk.kinds)))
            row = observation.observe(walk)
            assert row.shape == (len(observation.features),)
            assert np.all((row >= 0) & (row <= 1))


def test_published_observation_is_refused() -> None:
    with pytest.raises(InvalidInput, match="by the name 'corrected'"):
        create_observation("published", walk_of())


def test_state_of_every_decision_is_observed() -> None:
    walk = walk_of()
    walk.step([0.5, 2 / 3, 0.5])  # 4 of 8 channels; second of three bits, first of two

    state = create_observation("graph", walk).observe(walk)[-24:].reshape(3, 8)

    # Two widths, then weight bits and activation bits of three layers.
    assert state[0] == pytest.approx([0.5, 0, 1 / 3, 0, 0, 0.5, 0, 0])
    assert state[1].tolist() == [0, 1, 0, 1, 1, 0, 1, 1]
    assert state[2].tolist() == [0, 1, 0, 1, 0, 0, 1, 0]
    at_once = DecisionsObservation(walk).observe(walk).reshape(3, 8)
    assert at_once[2].tolist() == state[1].tolist()


def test_bits_belong_to_the_nodes_of_their_layers() -> None:
    network = network_graph(SPACE)  # nodes: three layers, two groups

    assert network.places.tolist() == [3, 4, 0, 1, 2, 0, 1, 2]
    weights, activations = network.layers
    assert np.argwhere(weights).tolist() == [[0, 2], [1, 3], [2, 4]]
    assert np.argwhere(activations).tolist() == [[0, 5], [1, 6], [2, 7]]
    assert network.outputs[:3, :2].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert not network.inputs[:, 2:].any()
