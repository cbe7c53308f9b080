"""Latency tables and the model that reads them, on made-up times."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from automl_compress.core import (
    Budget,
    CompressionSpace,
    CostModel,
    Layer,
    LayerGraph,
    SpaceOptions,
)
from automl_compress.core.errors import BudgetUnreachable, InvalidInput, TableMismatch
from automl_compress.costs import LatencyTable, PolicyCosts, compression_space
from automl_compress.costs.latency_model import LatencyModel
from automl_compress.costs.latency_table import Calibration
from automl_compress.costs.layer_times import LayerShape, LayerTimes
from tests.automl_compress.networks import zoo
from tests.contracts.cost_model import CostModelContract
from tests.fakes import plain_graph, residual_graph
from tests.latency_times import padded_to_8, table_of


def timed_space(graph: LayerGraph, table: LatencyTable, **options: Any) -> CompressionSpace:
    return compression_space(graph, SpaceOptions(**options), table)


class TestTimedCosts(CostModelContract):
    @pytest.fixture(params=["made up", "lenet-5", "mobilenet-v2", "densenet-bc-100", "mixnet-s"])
    def graph(self, request: pytest.FixtureRequest) -> LayerGraph:
        return residual_graph() if request.param == "made up" else zoo.traced(request.param).graph

    @pytest.fixture
    def costs(self, graph: LayerGraph) -> CostModel:
        noise = np.random.default_rng(0)

        def measured(inputs: int, outputs: int) -> float:
            return padded_to_8(inputs, outputs) * noise.uniform(0.8, 1.2)

        return timed_space(graph, table_of(graph, measured, step=16)).costs

    def test_a_policy_costs_what_its_setting_costs(self, graph: LayerGraph) -> None:
        table = table_of(graph)
        space, of_policies = timed_space(graph, table), PolicyCosts(graph, table)

        for setting in (space.smallest, space.largest, space.clip([0.5] * len(space.decisions))):
            assert of_policies.cost(space.policy(setting)) == space.costs.cost(setting)
        assert of_policies.full == space.full


class TestCostsInInt8(CostModelContract):
    @pytest.fixture(params=["lenet-5", "mobilenet-v2"])
    def graph(self, request: pytest.FixtureRequest) -> LayerGraph:
        return zoo.traced(request.param).graph

    @pytest.fixture
    def space(self, graph: LayerGraph) -> CompressionSpace:
        noise = np.random.default_rng(0)

        def in_int8(inputs: int, outputs: int) -> float:
            # Of some layers slower than in float32.
            return padded_to_8(inputs, outputs) * noise.uniform(0.2, 1.5)

        table = table_of(graph, step=16, in_int8=in_int8)
        bits = (4, 8, 32)
        return timed_space(graph, table, weight_bits=bits, activation_bits=bits, edge_bits=None)

    @pytest.fixture
    def costs(self, space: CompressionSpace) -> CostModel:
        return space.costs

    @pytest.fixture
    def allowed(self, space: CompressionSpace) -> list[Sequence[int]]:
        return list(space.allowed)


def mixed(graph: LayerGraph, *few: str) -> np.ndarray:
    return np.array([layer.name in few for layer in graph.layers if layer.kind != "other"])


def test_layers_in_int8_take_their_own_time_and_that_of_quantising() -> None:
    graph = plain_graph((8, 16))
    table = table_of(graph, lambda *_: 1000.0, in_int8=lambda *_: 100.0)
    model, (first, second, third) = LatencyModel(graph, table), dense_layers(graph)
    full = graph.full_widths
    in_float = model.latency_ns(full)

    def saved(*few: str) -> float:
        return in_float - model.latency_ns(full, mixed(graph, *few))

    one_layer = 1.5 * 1000 - 1.2 * 100
    alone = saved(second.name)
    values = 8 * prod(second.output_size) * prod(second.stride)
    assert alone == pytest.approx(one_layer - 0.3 * values, abs=1)
    # What comes from a layer in int8 is quantised there.
    assert saved(first.name, second.name) == pytest.approx(saved(first.name) + one_layer, abs=2)
    features = model.features(full, mixed(graph, first.name, second.name, third.name))
    assert features[1] == 0
    assert features[3] == pytest.approx(300)


def test_a_layer_that_int8_makes_slower_counts_as_in_float32() -> None:
    graph = plain_graph((8, 16))
    table = table_of(graph, lambda *_: 100.0, in_int8=lambda *_: 1000.0)
    model, everything = LatencyModel(graph, table), mixed(graph, *map(name_of, dense_layers(graph)))

    assert model.latency_ns((8, 16), everything) == model.latency_ns((8, 16))


def test_a_table_without_int8_times_takes_few_bits_for_float32() -> None:
    graph = plain_graph((8, 16))
    model, everything = (
        LatencyModel(graph, table_of(graph)),
        mixed(graph, *map(name_of, dense_layers(graph))),
    )

    assert model.latency_ns((8, 16), everything) == model.latency_ns((8, 16))


def test_a_policy_of_few_bits_costs_what_its_setting_costs() -> None:
    graph = zoo.traced("lenet-5").graph
    table = table_of(graph, in_int8=lambda inputs, outputs: padded_to_8(inputs, outputs) / 3)
    space = timed_space(graph, table, weight_bits=(8, 32), activation_bits=(8, 32), edge_bits=None)
    of_policies = PolicyCosts(graph, table)

    smallest, largest = space.costs.cost(space.smallest), space.costs.cost(space.largest)
    assert of_policies.cost(space.policy(space.smallest)) == smallest
    assert of_policies.cost(space.policy(space.largest)).latency_ns == largest.latency_ns
    assert smallest.latency_ns < largest.latency_ns
    uncut = of_policies.layer_latencies()
    cut = of_policies.layer_latencies(space.policy(space.smallest))
    assert list(uncut) == list(cut) == [layer.name for layer in dense_layers(graph)]
    assert all(0 < cut[name] < uncut[name] for name in uncut)
    outside = smallest.latency_ns - sum(cut.values())  # the call, operators between the layers
    assert 0 < outside < smallest.latency_ns
    assert PolicyCosts(graph).layer_latencies() == {}


def dense_layers(graph: LayerGraph) -> list[Layer]:
    return [layer for layer in graph.layers if layer.kind != "other"]


def name_of(layer: Layer) -> str:
    return layer.name


def test_the_model_is_the_calibrated_sum_of_its_layers() -> None:
    graph = plain_graph((8, 16))
    model = LatencyModel(graph, table_of(graph))

    one, layers, operations, *in_int8 = model.features((8, 16))

    assert in_int8 == [0.0, 0.0]
    alone = model.layers_ns((8, 16))
    assert layers == pytest.approx(float(alone.sum()))
    assert model.latency_ns((8, 16)) == round(500.0 * one + 1.5 * layers + 0.01 * operations)
    assert alone[1] == padded_to_8(8, 16)
    assert model.shares_ns((8, 16)) == pytest.approx(1.5 * alone)


def test_a_cut_network_takes_what_was_fitted_and_at_most_what_the_uncut_one_takes() -> None:
    graph = plain_graph((64,))
    table = table_of(graph, lambda inputs, outputs: float(inputs * outputs))
    plain = LatencyModel(graph, table)
    of_its_own = replace(table, calibration=replace(table.calibration, uncut=0.8))
    model = LatencyModel(graph, LatencyTable.from_json(of_its_own.to_json()))

    full = model.latency_ns((64,))
    assert full == pytest.approx(0.8 * plain.latency_ns((64,)), abs=1)
    assert model.latency_ns((63,)) == full < plain.latency_ns((63,))
    assert model.latency_ns((16,)) == plain.latency_ns((16,))


def test_a_width_that_was_not_measured_takes_what_the_next_larger_one_takes() -> None:
    graph = plain_graph((64,))
    table = table_of(graph, lambda inputs, outputs: float(inputs * outputs), step=16)
    model = LatencyModel(graph, table)

    assert model.latency_ns((17,)) == model.latency_ns((32,)) < model.latency_ns((33,))


def test_widths_that_save_no_time_are_left_out() -> None:
    graph = plain_graph((64,))

    space = timed_space(graph, table_of(graph))

    assert space.allowed == ((8, 16, 24, 32, 40, 48, 56, 64),)


def test_an_odd_width_that_is_slower_than_a_larger_one_is_left_out() -> None:
    graph = plain_graph((8,))

    def odd_is_slow(inputs: int, outputs: int) -> float:
        return float(inputs * outputs * (3 if outputs % 2 else 1))

    assert timed_space(graph, table_of(graph, odd_is_slow)).allowed == ((1, 2, 4, 6, 8),)


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
def test_proposals_are_repaired_to_a_latency(ratio: float, rng: np.random.Generator) -> None:
    graph = residual_graph()
    space, budget = timed_space(graph, table_of(graph)), Budget("latency_ns", ratio)

    for _ in range(10):
        setting = space.sample(rng, budget)
        assert space.costs.cost(setting).latency_ns <= ratio * space.full.latency_ns


def test_a_budget_below_the_price_of_a_call_is_refused() -> None:
    graph = plain_graph((8,))
    slow_call = replace(table_of(graph), calibration=Calibration(call_ns=1e6))

    with pytest.raises(BudgetUnreachable, match="latency_ns") as refused:
        timed_space(graph, slow_call).check_reachable(Budget("latency_ns", 0.5))
    assert "1,000,000 is the price of a call of any network" in str(refused.value)


def test_a_budget_above_the_price_of_a_call_is_refused_for_the_space() -> None:
    graph = plain_graph((8,))

    with pytest.raises(BudgetUnreachable, match="smallest policy") as refused:
        timed_space(graph, table_of(graph), max_sparsity=0.1).check_reachable(
            Budget("latency_ns", 0.8)
        )
    assert "higher maximum sparsity" in str(refused.value)


def test_a_table_by_which_a_network_takes_no_time_is_refused() -> None:
    graph = plain_graph((8,))
    timeless = replace(table_of(graph), calibration=Calibration(layers=0.0))

    with pytest.raises(TableMismatch, match="takes no time"):
        timed_space(graph, timeless)


def test_a_table_without_layers_is_refused() -> None:
    content = table_of(plain_graph((8,))).to_json() | {"layers": []}

    with pytest.raises(InvalidInput, match="/layers: has no times"):
        LatencyTable.from_json(content)


def test_a_table_survives_json() -> None:
    graph = zoo.traced("mobilenet-v2").graph
    table = table_of(graph, step=16, in_int8=padded_to_8)
    with_spreads = [replace(each, spreads=each.nanoseconds / 64) for each in table.times]
    table = replace(table, times=tuple(with_spreads))

    again = LatencyTable.from_json(json.loads(json.dumps(table.to_json())))

    assert again.to_json() == table.to_json()
    widths = graph.full_widths
    assert LatencyModel(graph, again).latency_ns(widths) == LatencyModel(graph, table).latency_ns(
        widths
    )


def test_a_table_of_another_network_names_the_layers_that_it_lacks() -> None:
    table = table_of(plain_graph((8,)))

    with pytest.raises(TableMismatch) as refused:
        LatencyModel(zoo.traced("resnet-20").graph, table)
    told = str(refused.value)
    assert "has no times for 7 shapes of layers of this network" in told
    assert "a 3x3 convolution that gives 16x16, stride 1x1, 3 to 16 channels (" in told
    assert told.count(" channels (") == 3
    assert "; and 4 more. Measure the network on that machine (automl-compress measure-" in told


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("version",), 2, "/version: is not 1"),
        (("batch",), 0, "/batch: is 0"),
        (("batch",), 10**30, "/batch: is 1000"),
        (("target",), "a" * 101, "/target: is no text of 1 to 100"),
        (("processor",), "a\x00", "/processor: is no text"),
        (("layers", 0, "outputs"), [10**12], "/layers/0/outputs/0: is 1000"),
        (("layers", 0, "kind"), "pool", "/layers/0/kind: is 'pool'"),
        (("layers", 0, "outputs"), [8, 4], "/layers/0/outputs: has 2 numbers"),
        (("layers", 0, "outputs"), [], "/layers/0/outputs: has 0 numbers"),
        (("layers", 0, "nanoseconds"), [[1]], "/layers/0/nanoseconds: is not one row"),
        (("layers", 0, "nanoseconds", 0, 0), -1, "/layers/0/nanoseconds/0/0: is -1"),
        (("layers", 0, "nanoseconds", 0, 0), float("nan"), "/layers/0/nanoseconds/0/0: is nan"),
        (("layers", 0, "spreads"), [[1]], "/layers/0/spreads: is not one row"),
        (("calibration", "checks"), [[1]], "/calibration/checks/0: has 1 numbers"),
    ],
)
def test_a_doctored_table_is_refused_and_the_place_named(
    place: tuple[str | int, ...], value: object, told: str
) -> None:
    content: Any = table_of(plain_graph((8,))).to_json()
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value

    with pytest.raises(InvalidInput, match=told):
        LatencyTable.from_json(content)


def times_of(*rows: Sequence[float], spread: float) -> LayerTimes:
    shape = LayerShape("convolution", (3, 3), (1, 1), (8, 8), 1)
    grid = np.array(rows, dtype=np.float64)
    inputs, outputs = (tuple(range(8, 8 * size + 1, 8)) for size in grid.shape)
    return LayerTimes(shape, inputs, outputs, grid, np.full_like(grid, spread))


def test_smoothing_takes_noise_out_and_leaves_plateaus_and_steps() -> None:
    noisy = times_of([100, 103, 99, 201, 200], spread=2)

    assert noisy.smoothed().nanoseconds.tolist() == [[99.5, 101, 101, 200.5, 200.5]]
    assert not noisy.breaking_monotony().any()


def test_smoothing_keeps_what_falls_by_more_than_the_spread() -> None:
    odd_is_slow = times_of([100, 150, 100], [200, 300, 200], spread=2)

    moved = np.abs(odd_is_slow.smoothed().nanoseconds - odd_is_slow.nanoseconds)
    assert moved.max() <= 2 * 2
    assert odd_is_slow.breaking_monotony().tolist() == [[False, True, True]] * 2


@pytest.mark.parametrize(("spread", "left"), [(0.5, (8, 16, 24)), (2.0, (16, 24))])
def test_a_width_is_left_out_where_its_saving_is_within_the_spread(
    spread: float, left: tuple[int, ...]
) -> None:
    graph = plain_graph((24,))
    table = table_of(graph, lambda _, outputs: 100.0 if outputs > 8 else 98.0, step=8)
    wide = [replace(each, nanoseconds=each.nanoseconds.copy()) for each in table.times]
    wide[0].nanoseconds[:, 2] = 200.0
    spreads = [np.full_like(each.nanoseconds, spread / 2) for each in wide]
    times = tuple(replace(one, spreads=two) for one, two in zip(wide, spreads, strict=True))

    assert timed_space(graph, replace(table, times=times)).allowed == (left,)


def test_a_table_of_before_spreads_is_read() -> None:
    content = table_of(plain_graph((8,))).to_json()

    assert all("spreads" not in layer for layer in content["layers"])
    again = LatencyTable.from_json(content)
    assert [each.spreads for each in again.times] == [None, None]
