"""What every cost model must do. Subclass `CostModelContract` and say how to create one."""

from dataclasses import astuple

import numpy as np
import pytest

from automl_compress.core import METRICS, CostModel, LayerGraph


class CostModelContract:
    """Run on every cost model; `graph` and `costs`, its model, are fixtures of the subclass."""

    @pytest.fixture
    def widths(self, graph: LayerGraph, rng: np.random.Generator) -> list[list[int]]:
        """Widths of ten policies."""
        return [
            [int(rng.integers(1, channels + 1)) for channels in graph.full_widths]
            for _ in range(10)
        ]

    def test_costs_are_whole_numbers(self, costs: CostModel, widths: list[list[int]]) -> None:
        for each in widths:
            assert all(type(value) is int and value > 0 for value in astuple(costs.cost(each)))

    def test_one_more_channel_never_costs_less(
        self, costs: CostModel, graph: LayerGraph, widths: list[list[int]]
    ) -> None:
        for each in widths:
            before = costs.cost(each)
            for group, channels in enumerate(graph.full_widths):
                wider = [*each]
                wider[group] = min(each[group] + 1, channels)
                after = costs.cost(wider)
                assert all(after.of(metric) >= before.of(metric) for metric in METRICS)

    def test_the_uncut_network_costs_most(
        self, costs: CostModel, graph: LayerGraph, widths: list[list[int]]
    ) -> None:
        full = costs.cost(graph.full_widths)

        for each in widths:
            assert all(costs.cost(each).of(metric) <= full.of(metric) for metric in METRICS)

    def test_any_sequence_of_widths_will_do(
        self, costs: CostModel, widths: list[list[int]]
    ) -> None:
        for each in widths:
            assert costs.cost(tuple(each)) == costs.cost(np.array(each)) == costs.cost(each)  # type: ignore[arg-type]
