"""What every cost model must do. Subclass `CostModelContract` and say how to create one."""

from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest

from automl_compress.core import METRICS, CostModel, LayerGraph


class CostModelContract:
    """Run on every cost model; `graph` and `costs`, its model, are fixtures of the subclass."""

    @pytest.fixture
    def allowed(self, graph: LayerGraph) -> list[Sequence[int]]:
        """Values of each decision, ascending, the uncut network's last."""
        return [range(1, channels + 1) for channels in graph.full_widths]

    @pytest.fixture
    def drawn(self, allowed: list[Sequence[int]], rng: np.random.Generator) -> list[list[int]]:
        """Ten settings."""
        return [[int(rng.choice(values)) for values in allowed] for _ in range(10)]

    def test_costs_are_whole_numbers(self, costs: CostModel, drawn: list[list[int]]) -> None:
        for each in drawn:
            cost = costs.cost(each)
            assert all(type(value) is int for value in astuple(cost))
            assert all(value > 0 for value in astuple(replace(cost, latency_ns=1)))
            # Either every network has a latency, or none.
            assert (cost.latency_ns > 0) == (costs.full.latency_ns > 0)

    def test_more_of_anything_never_costs_less(
        self, costs: CostModel, allowed: list[Sequence[int]], drawn: list[list[int]]
    ) -> None:
        for each in drawn:
            before = costs.cost(each)
            for place, values in enumerate(allowed):
                wider = [*each]
                wider[place] = min((v for v in values if v > each[place]), default=each[place])
                after = costs.cost(wider)
                assert all(after.of(metric) >= before.of(metric) for metric in METRICS)

    def test_the_uncut_network_costs_most(
        self, costs: CostModel, allowed: list[Sequence[int]], drawn: list[list[int]]
    ) -> None:
        most = costs.cost([values[-1] for values in allowed])

        for each in drawn:
            assert all(costs.cost(each).of(metric) <= most.of(metric) for metric in METRICS)

    def test_any_sequence_of_values_will_do(self, costs: CostModel, drawn: list[list[int]]) -> None:
        for each in drawn:
            assert costs.cost(tuple(each)) == costs.cost(np.array(each)) == costs.cost(each)  # type: ignore[arg-type]
