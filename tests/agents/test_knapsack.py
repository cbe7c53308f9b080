import time
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from automl_agents.allocation import knapsack_labels
from automl_agents.allocation.knapsack import Allocator
from automl_agents.allocation.layer_costs import LayerCosts
from automl_agents.allocation.quadratic_costs import QuadraticCosts
from automl_agents.decisions import open_decisions
from automl_compress.core import METRICS, Budget, CompressionSpace, LayerGraph, Metric
from automl_compress.core.errors import BudgetUnreachable
from tests.fakes import GraphDraft, plain_graph, residual_graph, space_of

MOST_POLICIES = 60_000

plain_graphs = st.lists(st.integers(3, 16), min_size=1, max_size=5).map(plain_graph)
residual_graphs = st.builds(
    residual_graph, st.tuples(*[st.sampled_from([2, 3, 4])] * 3), st.booleans()
)


def triangle_graph(widths: tuple[int, int, int]) -> LayerGraph:
    """A block whose shortcut is a convolution: its three groups meet pairwise."""
    draft = GraphDraft()
    before, inner, after = (draft.group(name, w) for name, w in zip("abc", widths, strict=True))
    draft.convolution("stem", None, before, 8)
    draft.convolution("first", before, inner, 8)
    draft.convolution("second", inner, after, 8)
    draft.convolution("shortcut", before, after, 8, kernel=1)
    draft.convolution("within", after, after, 8)  # its MACs grow with the square of one width
    draft.classifier(after)
    return draft.graph()


triangle_graphs = st.tuples(*[st.integers(4, 14)] * 3).map(triangle_graph)
graphs = st.one_of(plain_graphs, residual_graphs, triangle_graphs)


def random_losses(space: CompressionSpace, seed: int, is_smooth: bool) -> list[np.ndarray]:
    """Losses that fall with the width: powers of the sparsity, or steps of any size."""
    rng = np.random.default_rng(seed)
    losses = []
    for allowed in space.allowed:
        if is_smooth:
            curve = (1 - np.asarray(allowed) / allowed[-1]) ** rng.uniform(0.5, 3)
        else:
            steps = rng.exponential(1.0, len(allowed) - 1) ** rng.uniform(0.5, 3)
            curve = np.append(np.cumsum(steps)[::-1], 0.0)
        losses.append(curve * rng.lognormal())
    return losses


def total(space: CompressionSpace, losses: list[np.ndarray], widths: tuple[int, ...]) -> float:
    return float(
        sum(
            loss[allowed.index(width)]
            for loss, allowed, width in zip(losses, space.allowed, widths, strict=True)
        )
    )


def brute_force(space: CompressionSpace, budget: Budget, losses: list[np.ndarray]) -> float:
    """The least loss of all policies within the budget, by the cost model itself."""
    places = np.array(list(product(*(range(len(each)) for each in space.allowed))))
    sums = sum(np.asarray(loss)[places[:, group]] for group, loss in enumerate(losses))
    for row in np.argsort(sums, kind="stable"):
        widths = [space.allowed[group][place] for group, place in enumerate(places[row])]
        if space.within(widths, budget):
            return float(sums[row])
    raise AssertionError("nothing is within the budget")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    graph=graphs,
    round_to=st.sampled_from([1, 2]),
    metric=st.sampled_from(METRICS),
    ratio=st.floats(0.3, 0.95),
    seed=st.integers(0, 2**32),
    is_smooth=st.booleans(),
)
def test_within_one_percent_of_brute_force(
    graph: LayerGraph, round_to: int, metric: Metric, ratio: float, seed: int, is_smooth: bool
) -> None:
    space, budget = space_of(graph, round_to=round_to, max_sparsity=0.8), Budget(metric, ratio)
    assume(np.prod([len(each) for each in space.allowed]) <= MOST_POLICIES)
    assume(space.within(space.smallest, budget))
    losses = random_losses(space, seed, is_smooth)

    widths = Allocator(space, budget).solve(losses)

    assert space.within(widths, budget)
    assert total(space, losses, widths) <= 1.01 * brute_force(space, budget, losses) + 1e-9


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "graph", [residual_graph(), plain_graph((9, 7, 5)), triangle_graph((5, 6, 7))]
)
def test_quadratic_costs_are_the_cost_model(graph: LayerGraph, metric: Metric) -> None:
    space = space_of(graph, max_sparsity=0.7)
    costs, rng = QuadraticCosts.of(space, metric), np.random.default_rng(0)

    for _ in range(20):
        widths = [int(rng.choice(allowed)) for allowed in space.allowed]
        expected = space.costs.cost(widths).of(metric)
        # A score is a whole number of billionths, from which the polynomial is found.
        tolerance = 3.0 if metric == "micronet" else 0.01
        assert costs.total(np.array(widths, float)) == pytest.approx(expected, abs=tolerance)
        assert costs.totals(np.array([widths], float)) == pytest.approx([expected], abs=tolerance)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("metric", METRICS)
def test_within_the_budget_and_nothing_single_can_grow(ratio: float, metric: Metric) -> None:
    space, budget = space_of(residual_graph((16, 32, 64)), round_to=2), Budget(metric, ratio)

    widths = Allocator(space, budget).solve(random_losses(space, 5, is_smooth=True))

    assert space.within(widths, budget)
    for group, allowed in enumerate(space.allowed):
        grown = list(widths)
        grown[group] = next((each for each in allowed if each > widths[group]), widths[group])
        assert grown[group] == widths[group] or not space.within(grown, budget)


def test_without_a_loss_the_widest_network_is_taken() -> None:
    space = space_of(plain_graph((16, 16)))

    widths = Allocator(space, Budget("macs", 1.0)).solve([np.zeros(15), np.zeros(15)])

    assert widths == (16, 16)


def test_fixed_groups_stay() -> None:
    space = space_of(residual_graph(), skip=("stem",), fix=(("stage1", 0.5),))

    widths = Allocator(space, Budget("macs", 0.5)).solve(random_losses(space, 1, is_smooth=True))

    assert (widths[0], widths[space.graph.group_index["stage1"]]) == (16, 16)


def test_more_labels_hardly_help_on_a_large_space(monkeypatch: pytest.MonkeyPatch) -> None:
    space, budget = space_of(residual_graph((32, 32, 32))), Budget("macs", 0.4)
    losses = random_losses(space, 3, is_smooth=False)
    few = total(space, losses, Allocator(space, budget).solve(losses))

    monkeypatch.setattr(knapsack_labels, "MOST_LABELS", 20_000)

    assert few <= 1.01 * total(space, losses, Allocator(space, budget).solve(losses))


BITS = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (4, 8)}
FLOAT_TOO = {"weight_bits": (2, 8, 16, 32), "edge_bits": None}
DENSITIES = {"schemes": ("channel", "element"), "density_step": 25}
DENSITIES_AND_BITS = {"schemes": ("element",), "density_step": 20, **BITS}


@pytest.mark.parametrize("metric", ["size_bytes", "bit_operations"])
@pytest.mark.parametrize(
    ("options", "error"),
    # Bytes are rounded up, and of zeros the coder's entropy is not linear between the knots.
    [(BITS, 0.001), (FLOAT_TOO, 0.001), ({"schemes": ("element",)}, 0.01), (DENSITIES, 0.01)],
)
def test_layer_costs_are_the_cost_model(
    metric: Metric, options: dict[str, object], error: float
) -> None:
    space, rng = space_of(residual_graph(), **options), np.random.default_rng(0)
    places = open_decisions(space, metric)
    costs, groups = LayerCosts.of(space, metric, places), len(space.graph.groups)

    for _ in range(20):
        setting = list(space.largest)
        for place in places:
            setting[place] = int(rng.choice(space.allowed[place]))
        prices = []
        for table in costs.tables:
            own = [setting[place] for place in table.places]
            prices.append(table.prices[table.values.tolist().index(own)])
        polynomial = costs.given(np.array(prices))
        widths = np.array(setting[:groups], float)
        expected = space.costs.cost(setting).of(metric)
        assert polynomial.total(widths) == pytest.approx(expected, rel=error)
        measures = costs.measures(widths[None])[0]
        parts = costs.base.total(widths) + float(np.sum(measures * prices))
        assert parts == pytest.approx(expected, rel=error)
        assert np.allclose(costs.measure(0, widths[None])[0], measures[0])


@pytest.mark.parametrize(
    ("graph", "options", "metric"),
    [
        (plain_graph((6, 7, 6)), {"weight_bits": (2, 3, 4, 6, 8)}, "size_bytes"),
        (plain_graph((4, 5)), {**BITS, "weight_bits": (2, 4, 8), "edge_bits": None}, "size_bytes"),
        (triangle_graph((5, 6, 5)), {"weight_bits": (2, 4, 8)}, "bit_operations"),
        (plain_graph((12, 14)), {**DENSITIES, "round_to": 4, "weight_bits": (2, 8)}, "size_bytes"),
        (plain_graph((12, 14)), DENSITIES_AND_BITS, "bit_operations"),
        (plain_graph((12, 14)), DENSITIES_AND_BITS, "size_bytes"),
    ],
)
def test_with_layers_nearly_always_within_one_percent_of_brute_force(
    graph: LayerGraph, options: dict[str, object], metric: Metric
) -> None:
    space = space_of(graph, max_sparsity=0.8, **options)
    full, rng = space.full.of(metric), np.random.default_rng(0)
    costs = np.array([space.costs.cost(each).of(metric) for each in product(*space.allowed)])
    places = np.array(list(product(*(range(len(each)) for each in space.allowed))))
    gaps = []

    for seed in range(24):
        limit = 1.02 * min(costs) + np.ptp(costs) * rng.uniform(0.03, 0.8)
        budget = Budget(metric, limit / full)
        losses = random_losses(space, seed, bool(seed % 2))
        found = Allocator(space, budget).solve(losses)
        assert space.within(found, budget)
        sums = sum(np.asarray(loss)[places[:, place]] for place, loss in enumerate(losses))
        best = float(np.min(np.asarray(sums)[costs <= budget.limit(space.full)]))
        gaps.append(total(space, losses, found) / best - 1.0)

    assert np.mean(np.array(gaps) <= 0.01) >= 0.85
    assert np.median(gaps) <= 1e-6


@pytest.mark.parametrize("metric", ["size_bytes", "bit_operations"])
@pytest.mark.parametrize("options", [BITS, FLOAT_TOO, {"schemes": ("element",), **BITS}])
def test_with_layers_within_the_budget_and_nothing_single_can_grow(
    metric: Metric, options: dict[str, object]
) -> None:
    space = space_of(residual_graph((8, 16, 16)), **options)
    lowest = space.costs.cost(space.smallest).of(metric)
    budget = Budget(metric, 2.5 * lowest / space.full.of(metric))

    found = Allocator(space, budget).solve(random_losses(space, 5, is_smooth=True))

    assert space.within(found, budget)
    for place, allowed in enumerate(space.allowed):
        for value in [each for each in allowed if each > found[place]][:1]:
            assert not space.within([*found[:place], value, *found[place + 1 :]], budget)


def test_unreachable_budget_is_refused() -> None:
    with pytest.raises(BudgetUnreachable):
        Allocator(space_of(plain_graph((8, 8))), Budget("macs", 0.001))


@pytest.mark.parametrize(
    ("graph", "seconds"),
    [(residual_graph((35, 35, 35)), 0.05), (plain_graph((35,) * 9), 0.05)],
)
def test_nine_groups_take_a_moment(graph: LayerGraph, seconds: float) -> None:
    space = space_of(graph)
    allocator, losses = Allocator(space, Budget("macs", 0.5)), random_losses(space, 2, True)

    took = [_seconds(allocator, losses) for _ in range(5)]

    assert len(space.allowed[0]) == 32
    assert min(took) < 2 * seconds  # 0.03 s where nothing else runs


@pytest.mark.slow
def test_sixty_groups_of_two_hundred_widths_take_a_second() -> None:
    space = space_of(plain_graph((220,) * 60))
    allocator, losses = Allocator(space, Budget("macs", 0.5)), random_losses(space, 2, True)

    assert min(_seconds(allocator, losses) for _ in range(3)) < 2.0  # 0.7 s where nothing else runs


def _seconds(allocator: Allocator, losses: list[np.ndarray]) -> float:
    began = time.process_time()
    allocator.solve(losses)
    return time.process_time() - began
