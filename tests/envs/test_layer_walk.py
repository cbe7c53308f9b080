"""Episodes from layer to layer, where more than widths is open."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from automl_compress.core import Budget, CompressionSpace
from automl_compress.core.errors import InvalidInput
from automl_envs.sites import decides_widths_alone
from automl_envs.walk import LayerWalk, WalkRules
from tests.fakes import plain_graph, residual_graph, space_of

BITS = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (4, 8)}
# Layers convolution0, convolution1 and classifier; groups convolution0 and convolution1.
PLAIN = plain_graph((8, 16))
SPACES = [
    space_of(residual_graph(), **BITS),
    space_of(residual_graph(), schemes=("channel", "element"), **BITS, edge_bits=None),
    space_of(residual_graph(), schemes=("element",), weight_bits=(2, 3, 4), skip=("stem",)),
    space_of(PLAIN, schemes=(), activation_bits=(2, 4, 8)),
    space_of(PLAIN, schemes=("channel", "element"), fix=(("convolution0", 0.5),)),
]


def walk_of(
    space: CompressionSpace,
    metric: str = "bit_operations",
    ratio: float = 0.1,
    limit: str = "scale",
) -> LayerWalk:
    return LayerWalk(space, Budget(metric, ratio), WalkRules(limit))  # type: ignore[arg-type]


def walked(walk: LayerWalk, actions: np.ndarray) -> LayerWalk:
    walk.reset()
    for action in actions[: len(walk.order), : len(walk.kinds)]:
        walk.step(action)
    return walk


def names(walk: LayerWalk) -> list[list[str]]:
    decisions = walk.space.decisions
    return [[decisions[place].name for place in site.decisions] for site in walk.order]


def test_a_layer_decides_its_own_and_the_group_that_it_begins() -> None:
    graph = residual_graph((8, 8, 8))
    walk = walk_of(space_of(graph, schemes=("channel", "element"), **BITS))

    assert walk.kinds == ("width", "density", "weight_bits", "activation_bits")
    taken = dict(zip([site.layer for site in walk.order], names(walk), strict=True))
    assert list(taken) == [layer.name for layer in graph.layers]
    # Bits of the first and the last layer are fixed.
    assert taken["stem"] == ["stem", "density.stem"]
    assert taken["classifier"] == ["density.classifier"]
    # The second convolution of a block ends in the stem's group, which the stem decided.
    second = "stage0.block0.second"
    assert taken[second] == [f"{k}.{second}" for k in ("density", "weight_bits", "activation_bits")]
    first = "stage0.block0.first"
    assert taken[first][0] == first
    every = [name for each in taken.values() for name in each]
    assert sorted(every) == sorted(d.name for d in walk.space.decisions if len(d.allowed) > 1)


def test_layers_without_a_choice_are_not_visited() -> None:
    walk = walk_of(space_of(residual_graph(), schemes=(), **BITS, skip=("stage1",)))

    visited = [site.layer for site in walk.order]

    assert not {"stem", "classifier", "stage1"} & set(visited)
    assert len(visited) == len(walk.space.graph.layers) - 3


def test_a_space_without_any_choice_has_one_policy() -> None:
    space = space_of(PLAIN, schemes=(), weight_bits=(8,), activation_bits=(8,))

    walk = walked(walk_of(space), np.zeros((3, 4)))

    assert walk.policy() == space.policy(space.largest)


def test_fixed_bits_leave_a_walk_of_widths_from_group_to_group() -> None:
    space = space_of(PLAIN, weight_bits=(8,), activation_bits=(8,))

    walk = walk_of(space, ratio=0.05)

    assert decides_widths_alone(space)
    assert names(walk) == [["convolution0"], ["convolution1"]]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SPACES),
    st.sampled_from(["scale", "bound"]),
    st.sampled_from(["bit_operations", "size_bytes"]),
    st.floats(0.0, 1.0),
    st.integers(0, 2**32),
)
def test_no_episode_ends_outside_the_space_or_over_the_budget(
    space: CompressionSpace, limit: str, metric: str, tightness: float, seed: int
) -> None:
    least, most = (space.costs.cost(s).of(metric) for s in (space.smallest, space.largest))  # type: ignore[arg-type]
    ratio = (least + tightness * (most - least) + 1) / space.full.of(metric)  # type: ignore[arg-type]
    assume(ratio <= 1.0)  # a small packed file may be larger than the floats of the network
    walk = walk_of(space, metric, ratio, limit)

    walked(walk, np.random.default_rng(seed).uniform(-0.1, 1.1, (30, 4)))

    assert space.within(walk.setting, walk.budget)
    assert all(v in allowed for v, allowed in zip(walk.setting, space.allowed, strict=True))
    assert space.setting(walk.policy()) == tuple(walk.setting)


@pytest.mark.parametrize("action", [0.0, 0.5, 1.0])
def test_bound_leaves_the_budget_reachable_at_every_step(action: float) -> None:
    space = SPACES[1]
    walk = walk_of(space, ratio=0.01, limit="bound")

    while not walk.is_done:
        bounds = walk.bounds()
        realised = walk.step([action] * 4)
        assert np.all((bounds[:, 0] <= realised) & (realised <= bounds[:, 1]))
        assert space.within(walk.with_undecided(space.smallest), walk.budget)


@pytest.mark.parametrize("limit", ["scale", "bound"])
@pytest.mark.parametrize("space", SPACES[:3], ids=["joint", "all kinds", "element"])
def test_walk_through_a_policy_at_the_budget_gives_that_policy(
    space: CompressionSpace, limit: str, rng: np.random.Generator
) -> None:
    walk = walk_of(space, "size_bytes", 0.15, limit)
    for _ in range(5):
        setting = space.sample(rng, walk.budget)
        shares = space.shares(setting)
        actions = [[0.0 if p is None else shares[p] for p in site.places] for site in walk.order]

        assert tuple(walked(walk, np.array(actions)).setting) == setting


def test_components_that_a_site_does_not_decide_are_ignored(rng: np.random.Generator) -> None:
    walk = walk_of(SPACES[1])
    actions = rng.uniform(size=(len(walk.order), 4))
    decides = np.array([site.decides for site in walk.order])

    first = walked(walk, actions).setting
    other = walked(walk, np.where(decides, actions, 1.0 - actions)).setting

    assert not decides.all()
    assert first == other


def test_realised_are_shares_of_what_stands() -> None:
    walk = walk_of(space_of(residual_graph((8, 8, 8)), **BITS), ratio=1.0)

    # stem: 5.2 of 8 channels; its bits are fixed: a single value, and so a share of 1.
    assert walk.step([0.65, 0.1, 0.1]).tolist() == [5 / 8, 1.0, 1.0]
    # 0.45 of five weight bits is 2.25, the second; 0.8 of two is 1.6, the second.
    assert walk.step([0.5, 0.45, 0.8]).tolist() == [4 / 8, 2 / 5, 1.0]
    # The second convolution has the width of the stem.
    assert walk.bounds().tolist() == [[5 / 8, 5 / 8], [1 / 5, 1.0], [1 / 2, 1.0]]
    assert walk.step([1.0, 0.0, 0.0]).tolist() == [5 / 8, 1 / 5, 1 / 2]


def test_last_step_scales_all_shares_by_one_multiplier() -> None:
    space = SPACES[0]
    walk = walk_of(space, "size_bytes", 0.1)

    walked(walk, np.ones((len(walk.order), 3)))

    assert tuple(walk.setting) == space.uniform(walk.budget)


def test_published_bound_is_refused_where_more_than_widths_is_open() -> None:
    with pytest.raises(InvalidInput, match="opens width, weight_bits, activation_bits"):
        walk_of(SPACES[0], limit="published")
