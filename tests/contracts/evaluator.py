"""What every evaluator must do. Subclass `EvaluatorContract` and say how to create one."""

import json

import pytest

from automl_compress.core import Evaluator, LayerGraph, Measurement, Policy
from automl_compress.core.errors import InvalidInput, PolicyMismatch
from automl_compress.costs import AnalyticCosts
from automl_compress.search.outcome import joined
from tests.fakes import plain_graph


class EvaluatorContract:
    """Run on every evaluator; `graph` and `evaluator`, of this graph, come from the subclass."""

    @pytest.fixture
    def policies(self, graph: LayerGraph) -> list[Policy]:
        """The uncut network, half of everything, and the least of everything."""
        full = graph.full_widths
        halves = [(width + 1) // 2 for width in full]
        return [Policy.from_widths(graph, each) for each in (full, halves, [1] * len(full))]

    def test_the_same_policy_gives_the_same_result(
        self, evaluator: Evaluator, policies: list[Policy]
    ) -> None:
        first = [evaluator.evaluate(policy) for policy in policies]
        second = [evaluator.evaluate(policy) for policy in reversed(policies)][::-1]

        assert [deterministic(each) for each in first] == [deterministic(each) for each in second]

    def test_accuracy_is_a_fraction_of_the_images(
        self, evaluator: Evaluator, policies: list[Policy]
    ) -> None:
        for policy in policies:
            measured = evaluator.evaluate(policy)
            assert 0 <= measured.correct <= measured.total
            assert measured.accuracy == measured.correct / measured.total

    def test_costs_are_those_of_the_policy(
        self, evaluator: Evaluator, graph: LayerGraph, policies: list[Policy]
    ) -> None:
        costs = AnalyticCosts(graph)

        for policy in policies:
            assert evaluator.evaluate(policy).cost == costs.cost(policy.widths(graph))

    def test_effort_is_counted(self, evaluator: Evaluator, policies: list[Policy]) -> None:
        for policy in policies:
            measured = evaluator.evaluate(policy)
            assert measured.evaluations > 0
            assert measured.fidelity == "proxy"
            assert measured.split

    def test_measurement_survives_json(self, evaluator: Evaluator, policies: list[Policy]) -> None:
        measured = evaluator.evaluate(policies[1])

        text = json.dumps(measured.to_json(), allow_nan=False)

        assert Measurement.from_json(json.loads(text)) == measured

    def test_parts_of_the_images_add_up_to_all_of_them(
        self, evaluator: Evaluator, policies: list[Policy]
    ) -> None:
        whole = evaluator.evaluate(policies[1])
        cut = whole.total // 3  # not at a batch's end

        first = evaluator.evaluate(policies[1], slice(0, cut))
        rest = evaluator.evaluate(policies[1], slice(cut, None))
        together = joined(first, rest, is_whole=True)

        assert (first.total, rest.total) == (cut, whole.total - cut)
        assert first.fidelity == rest.fidelity == "subset"
        assert first.evaluations < whole.evaluations
        assert deterministic(together) == deterministic(whole) | {
            "cross_entropy": pytest.approx(whole.cross_entropy),
            "kl": pytest.approx(whole.kl),
            "score": pytest.approx(whole.score),
            "evaluations": rest.evaluations,
        }

    def test_a_part_without_images_is_refused(
        self, evaluator: Evaluator, policies: list[Policy]
    ) -> None:
        total = evaluator.evaluate(policies[1]).total

        with pytest.raises(InvalidInput, match="no image"):
            evaluator.evaluate(policies[1], slice(total, None))

    def test_policy_of_another_network_is_refused(self, evaluator: Evaluator) -> None:
        other = plain_graph([8, 8, 8])

        with pytest.raises(PolicyMismatch, match="made for this network"):
            evaluator.evaluate(Policy.from_widths(other, [4, 4, 4]))


def deterministic(measured: Measurement) -> dict[str, object]:
    """Everything but how long it took."""
    content = measured.to_json()
    return {name: value for name, value in content.items() if not name.endswith("_seconds")}
