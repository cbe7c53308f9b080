import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_compress.core import Budget
from automl_compress.core.errors import BudgetUnreachable, InvalidInput, WrongState
from automl_envs.walk import LayerWalk, WalkRules
from tests.fakes import plain_graph, residual_graph, space_of

RULES = [WalkRules("scale"), WalkRules("bound"), WalkRules("published")]
SPACES = [
    space_of(residual_graph()),
    space_of(residual_graph(), round_to=8, max_sparsity=0.8),
    space_of(residual_graph((12, 20, 28)), round_to=4, fix=(("stage1", 0.5),), skip=("stem",)),
    space_of(plain_graph((5, 9, 17, 3))),
]


def walked(walk: LayerWalk, actions: list[float]) -> LayerWalk:
    walk.reset()
    for action in actions[: len(walk.order)]:
        walk.step([action])
    return walk


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SPACES),
    st.sampled_from(RULES),
    st.sampled_from(["macs", "parameters", "size_bytes"]),
    st.floats(0.45, 1.0),
    st.lists(st.floats(0.0, 1.0), min_size=9, max_size=9),
)
def test_no_episode_ends_outside_the_space_or_over_the_budget(
    space, rules, metric, ratio, actions
) -> None:
    budget = Budget(metric, ratio)

    walk = walked(LayerWalk(space, budget, rules), actions)

    assert walk.is_done
    assert space.within(walk.setting, budget)
    assert all(w in allowed for w, allowed in zip(walk.setting, space.allowed, strict=True))
    assert walk.policy().widths(space.graph) == tuple(walk.setting)


@pytest.mark.parametrize("action", [0.0, 0.3, 1.0])
def test_bound_leaves_the_budget_reachable_at_every_step(action: float) -> None:
    space, budget = SPACES[0], Budget("macs", 0.3)
    walk = LayerWalk(space, budget, WalkRules("bound"))

    while not walk.is_done:
        [(lowest, highest)] = walk.bounds()
        [realised] = walk.step([action])
        assert lowest <= realised <= highest
        assert space.within(walk.with_undecided(space.smallest), budget)


def test_bound_serves_early_groups_first_and_scaling_treats_all_alike() -> None:
    space, budget = SPACES[0], Budget("macs", 0.5)

    bound = walked(LayerWalk(space, budget, WalkRules("bound")), [1.0] * 9)
    scaled = walked(LayerWalk(space, budget, WalkRules("scale")), [1.0] * 9)

    keep = np.array(bound.setting) / space.graph.full_widths
    assert keep[:4].tolist() == [1.0] * 4
    assert keep[-1] == pytest.approx(0.1, abs=0.05)
    assert tuple(scaled.setting) == space.uniform(budget)


def test_walk_through_a_policy_at_the_budget_gives_that_policy(rng: np.random.Generator) -> None:
    space, budget = SPACES[0], Budget("macs", 0.5)
    for limit in ("scale", "bound"):
        for _ in range(20):
            widths = space.sample(rng, budget)
            actions = [w / full for w, full in zip(widths, space.graph.full_widths, strict=True)]

            walk = walked(LayerWalk(space, budget, WalkRules(limit)), actions)

            assert tuple(walk.setting) == widths


def test_groups_without_a_choice_are_not_visited() -> None:
    space = space_of(residual_graph(), skip=("stem",), fix=(("stage1", 0.5),))

    walk = LayerWalk(space, Budget("macs", 0.5), WalkRules())

    assert [space.decisions[site.decisions[0]].name for site in walk.order] == [
        group.name for group in space.graph.groups if group.name not in ("stem", "stage1")
    ]


def test_published_rounding_goes_up_to_eight_channels() -> None:
    space = space_of(plain_graph((32, 12, 6)))
    walk = LayerWalk(space, Budget("macs", 1.0), WalkRules("published"))

    # 0.3 of 32 is 9.6, up to 16; 0.8 of 12 is 9.6, up to 16, too wide, down to 8; 6 channels
    # cannot be a multiple of 8: the nearest allowed to 0 is 1.
    realised = [walk.step([0.3]), walk.step([0.8]), walk.step([0.5])]

    assert np.ravel(realised).tolist() == [16 / 32, 8 / 12, 1 / 6]


def test_published_rounding_leaves_a_whole_group_whole() -> None:
    walk = LayerWalk(space_of(plain_graph((12,))), Budget("macs", 1.0), WalkRules("published"))

    assert walk.step([1.0]) == 1.0


def test_published_bound_is_where_the_rest_at_lbound_meets_the_budget() -> None:
    # Two 3x3 convolutions at 8x8 and a classifier; 10 then 20 channels. With widths a and b
    # the MACs are 64 * 9 * (3a + ab) + 10b. Full: 576 * 230 + 200 = 132,680; half is 66,340.
    # b waits at 0.2 * 20 = 4: 576 * 7a + 40 = 66,340 at a = 16.4, more than there are; with
    # 0.25 of the MACs the limit is 33,170 and a = 8.217.
    space = space_of(plain_graph((10, 20)))

    assert LayerWalk(space, Budget("macs", 0.5), WalkRules("published")).bounds().tolist() == [
        [0.2, 1.0]
    ]
    [(lowest, highest)] = LayerWalk(space, Budget("macs", 0.25), WalkRules("published")).bounds()
    assert lowest == 0.2
    assert highest == pytest.approx((33_170 - 40) / (576 * 7) / 10)


def test_step_after_the_last_site_raises() -> None:
    walk = walked(LayerWalk(SPACES[0], Budget("macs", 0.5), WalkRules()), [0.5] * 9)

    with pytest.raises(WrongState, match="reset"):
        walk.step([0.5])
    with pytest.raises(WrongState, match="reset"):
        walk.bounds()


def test_policy_of_an_unfinished_walk_raises() -> None:
    with pytest.raises(WrongState, match="0 of 9 sites"):
        LayerWalk(SPACES[0], Budget("macs", 0.5), WalkRules()).policy()


def test_unreachable_budget_is_refused() -> None:
    with pytest.raises(BudgetUnreachable):
        LayerWalk(SPACES[0], Budget("macs", 0.001), WalkRules())


@pytest.mark.parametrize("wrong", [{"limit": "wall"}, {"undecided_keep": 0.0}])
def test_rules_outside_their_range_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInput):
        WalkRules(**wrong)
