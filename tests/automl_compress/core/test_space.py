from bisect import bisect_right
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_compress.core import Budget, CompressionSpace, SpaceOptions
from automl_compress.core.errors import BudgetUnreachable, InvalidInput
from automl_compress.core.weight_grids import QUANTISER_BITS
from tests.fakes import plain_graph, residual_graph, space_of

SPACES = [
    space_of(residual_graph()),
    space_of(residual_graph(), round_to=8, max_sparsity=0.8),
    space_of(residual_graph((12, 20, 28)), round_to=4, fix=(("stage1", 0.5),), skip=("stem",)),
    space_of(plain_graph((5, 9, 17, 3))),
    space_of(plain_graph((8,))),
    space_of(residual_graph(), weight_bits=(2, 4, 8), activation_bits=(4, 8), edge_bits=None),
    space_of(residual_graph(), schemes=("element",), weight_bits=(2, 3, 4, 5, 6, 7, 8, 16, 32)),
    space_of(residual_graph(), schemes=(), weight_bits=(1, 2, 4), edge_bits=None),
    space_of(plain_graph((5, 9)), schemes=("channel", "element"), density_step=10),
]
spaces = st.sampled_from(SPACES)
metrics = st.sampled_from(["macs", "parameters", "size_bytes"])
seeds = st.integers(0, 2**32)


def budget_of(space: CompressionSpace, metric: str, place: float) -> Budget:
    """A reachable budget: `place` of the way from the smallest policy to the uncut network."""
    full = space.full.of(metric)  # type: ignore[arg-type]
    lowest = (space.costs.cost(space.smallest).of(metric) + 1) / full  # type: ignore[arg-type]
    return Budget(metric, min(lowest + place * (1 - lowest), 1.0))  # type: ignore[arg-type]


def keep_of(space: CompressionSpace, seed: int) -> list[float]:
    return np.random.default_rng(seed).uniform(0, 1, len(space.allowed)).tolist()


def assert_allowed(space: CompressionSpace, widths: tuple[int, ...]) -> None:
    assert all(w in allowed for w, allowed in zip(widths, space.allowed, strict=True))


def single_growths(space: CompressionSpace, widths: tuple[int, ...]) -> list[list[int]]:
    grown = []
    for group, allowed in enumerate(space.allowed):
        if widths[group] < allowed[-1]:
            wider = allowed[bisect_right(allowed, widths[group])]
            grown.append([*widths[:group], wider, *widths[group + 1 :]])
    return grown


@settings(deadline=None)
@given(spaces, metrics, st.floats(0, 1), seeds)
def test_project_meets_the_budget_and_leaves_no_group_room_to_grow(
    space: CompressionSpace, metric: str, place: float, seed: int
) -> None:
    budget = budget_of(space, metric, place)

    widths = space.project(keep_of(space, seed), budget)

    assert space.within(widths, budget)
    assert_allowed(space, widths)
    assert not [grown for grown in single_growths(space, widths) if space.within(grown, budget)]


@settings(deadline=None)
@given(spaces, metrics, st.floats(0, 1), seeds)
def test_projecting_again_changes_nothing(
    space: CompressionSpace, metric: str, place: float, seed: int
) -> None:
    budget = budget_of(space, metric, place)
    widths = space.project(keep_of(space, seed), budget)

    assert space.project(space.shares(widths).tolist(), budget) == widths


@settings(deadline=None)
@given(spaces, metrics, st.floats(0, 1), seeds)
def test_repair_shrinks_only_what_is_over_the_budget(
    space: CompressionSpace, metric: str, place: float, seed: int
) -> None:
    budget = budget_of(space, metric, place)
    keep = keep_of(space, seed)

    widths = space.repair(keep, budget)

    assert space.within(widths, budget)
    assert_allowed(space, widths)
    if space.within(space.clip(keep), budget):
        assert widths == space.clip(keep)


@settings(deadline=None)
@given(spaces, metrics, st.floats(0, 1))
def test_uniform_is_one_ratio_up_to_rounding(
    space: CompressionSpace, metric: str, place: float
) -> None:
    budget = budget_of(space, metric, place)

    widths = space.uniform(budget)

    assert space.within(widths, budget)
    assert_allowed(space, widths)


def test_uniform_of_a_network_with_fine_steps_is_nearly_one_ratio() -> None:
    space = SPACES[0]

    keep = np.array(space.uniform(Budget("macs", 0.5))) / space.graph.full_widths

    assert keep.max() - keep.min() <= 1 / 16 + 1e-9


@settings(deadline=None)
@given(spaces, metrics, st.floats(0, 1), seeds)
def test_samples_lie_at_the_budget(
    space: CompressionSpace, metric: str, place: float, seed: int
) -> None:
    budget = budget_of(space, metric, place)

    widths = space.sample(np.random.default_rng(seed), budget)

    assert space.within(widths, budget)
    assert not [grown for grown in single_growths(space, widths) if space.within(grown, budget)]


@settings(deadline=None)
@given(spaces, metrics, st.floats(0, 1), seeds)
def test_largest_feasible_leaves_the_budget_reachable_and_one_step_more_does_not(
    space: CompressionSpace, metric: str, place: float, seed: int
) -> None:
    budget, rng = budget_of(space, metric, place), np.random.default_rng(seed)
    order = rng.permutation(len(space.allowed)).tolist()
    decided: dict[int, int] = {}

    for group in order:
        largest = space.largest_feasible(decided, group, budget)

        def finished(width: int, group: int = group) -> list[int]:
            widths = list(space.smallest)
            for each, decided_width in (decided | {group: width}).items():
                widths[each] = decided_width
            return widths

        allowed = space.allowed[group]
        assert largest in allowed
        assert space.within(finished(largest), budget)
        if largest < allowed[-1]:
            assert not space.within(finished(allowed[bisect_right(allowed, largest)]), budget)
        decided[group] = int(rng.choice([each for each in allowed if each <= largest]))


def test_prefix_is_feasible_until_the_smallest_rest_is_too_much() -> None:
    space, budget = SPACES[0], Budget("macs", 0.3)

    assert space.feasible([], budget)
    assert not space.feasible(space.graph.full_widths[:6], budget)


def test_widths_are_multiples_or_the_whole_group() -> None:
    # Of 20 channels at least 10 % stay, in steps of 8: 8, 16, and all 20.
    space = space_of(plain_graph((20,)), round_to=8)

    assert space.allowed == ((8, 16, 20),)


def test_skipped_groups_stay_whole_and_fixed_ones_as_said() -> None:
    space = space_of(residual_graph(), skip=("stem",), fix=(("stage1", 0.25),), max_sparsity=0.5)

    by_name = dict(zip(space.graph.group_index, space.allowed, strict=True))
    assert by_name["stem"] == (16,)
    assert by_name["stage1"] == (24,)
    assert by_name["stage2"][0] == 32


def test_of_thousands_of_unknown_groups_some_are_named() -> None:
    fix = tuple((f"a{number}", 0.5) for number in range(30_000))

    with pytest.raises(InvalidInput, match=r"no groups \['b', 'a0', .* and 29981 more") as refused:
        space_of(residual_graph(), skip=("b",), fix=fix)

    assert len(str(refused.value)) < 1000


def test_a_group_cannot_be_skipped_and_fixed() -> None:
    with pytest.raises(InvalidInput, match=r"stage1.*leave one out"):
        SpaceOptions(skip=("stage1",), fix=(("stage1", 0.25),))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quantiser": "binary", "weight_bits": (1, 4)}, r"weight_bits is \[1, 4\].* not 4"),
        ({"quantiser": "kmeans", "weight_bits": (4, 16)}, r"2, 3, 4, 5, 6, 7, 8 bits, not 16"),
        ({"quantiser": "ternary", "weight_bits": (2,)}, "edge_bits.* is 8: .*edge_bits to 32"),
        ({"quantiser": "bit_split", "weight_bits": (4,)}, "take 'uniform', which it equals"),
        ({"weight_scales": "row"}, "choose one of: channel, tensor"),
        ({"weight_scales": "tensor", "weight_bits": (1, 4)}, "'binary'.*not one for the tensor"),
        ({"weight_scales": "tensor", "weight_bits": (4,), "quantiser": "kmeans"}, "a codebook"),
        ({"weight_scales": "tensor", "weight_bits": (2,), "edge_bits": 1}, "edge_bits.*'binary'"),
        ({"quantiser": "beauty"}, "no quantiser is called 'beauty'"),
    ],
)
def test_bits_that_the_quantiser_lacks_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        SpaceOptions(**options)


def test_float_weights_and_free_edges_go_with_every_quantiser() -> None:
    for name in QUANTISER_BITS:
        own = QUANTISER_BITS[name]
        space = space_of(
            plain_graph((8, 8)), quantiser=name, weight_bits=(*own, 32), edge_bits=None
        )
        assert {choice.quantiser for choice in space.policy(space.smallest).layers} == {name}
        assert SpaceOptions(quantiser=name, weight_bits=own, edge_bits=32).quantiser == name
        assert SpaceOptions(quantiser=name, activation_bits=(8,)).quantiser == name


def test_clip_takes_the_nearest_allowed_width() -> None:
    space = space_of(plain_graph((20, 20)), round_to=8)

    assert space.clip([0.55, 0.95]) == (8, 20)


def test_unreachable_budget_names_the_smallest_cost() -> None:
    space = space_of(plain_graph((8,)), max_sparsity=0.5)

    with pytest.raises(BudgetUnreachable) as caught:
        space.project([1.0], Budget("macs", 0.1))

    # 4 of 8 channels: 576 * 3 * 4 + 40
    assert caught.value.smallest == 6_952
    assert "Raise the budget" in str(caught.value)


def test_unknown_groups_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'convolution0'"):
        space_of(plain_graph((8,)), skip=("stem",))


@pytest.mark.parametrize("wrong", [{"max_sparsity": 1.0}, {"round_to": 3}])
def test_space_options_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        space_of(plain_graph((8,)), **wrong)
