"""What every searcher must do. Subclass `SearcherContract` and say how to create one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from automl_compress.core import (
    Budget,
    LayerGraph,
    Metric,
    Searcher,
    SearchProblem,
    Snapshot,
    Suggestion,
    Trial,
)
from automl_compress.core.errors import TrialMismatch
from automl_compress.costs import compression_space
from tests.fakes import FormulaEvaluator, plain_graph, problem_of, residual_graph
from tests.latency_times import padded_to_8, table_of

Create = Callable[[SearchProblem], Searcher]


def complete(problem: SearchProblem, suggestion: Suggestion) -> Trial:
    part = slice(0, suggestion.images)
    return suggestion.complete(FormulaEvaluator(problem.space).evaluate(suggestion.policy, part))


def failed(suggestion: Suggestion) -> Trial:
    return suggestion.failed("made up")


def through_json(snapshot: Snapshot) -> Snapshot:
    """As a store does it: values as JSON, arrays as bytes of their own."""
    values = json.loads(json.dumps(dict(snapshot.values)))
    return Snapshot(values, {name: array.copy() for name, array in snapshot.arrays.items()})


def under_latency(problem: SearchProblem) -> SearchProblem:
    """Put a problem under a latency budget, on an engine that works in blocks of 8.

    In int8 it is four times as fast.
    """

    def in_int8(inputs: int, outputs: int) -> float:
        return padded_to_8(inputs, outputs) / 4

    graph, options = problem.space.graph, problem.space.options
    space = compression_space(graph, options, table_of(graph, in_int8=in_int8))
    return replace(problem, space=space, budget=Budget("latency_ns", 0.6))


class SearcherContract:
    """Run on every searcher; `create` is a fixture of the subclass.

    The problem is small, and long enough for a searcher's warm-up to end. A subclass may open
    decisions for layers:

    options: of the space.
    budgets: two metrics, the usual one first, and what ratios are multiplied by under each: few
        bits cost little.
    """

    trials = 14
    options: ClassVar[Mapping[str, Any]] = {}
    budgets: ClassVar[Mapping[Metric, float]] = {"macs": 1.0, "size_bytes": 1.0}

    def problem_of(
        self,
        graph: LayerGraph | None = None,
        ratio: float = 0.5,
        place: int = 0,
        **more: Any,
    ) -> SearchProblem:
        """Return a problem under the budget at a place of `budgets`."""
        metric, factor = list(self.budgets.items())[place]
        return problem_of(graph, factor * ratio, metric=metric, **self.options, **more)

    def closed_options(self) -> dict[str, Any]:
        """The space's options with one value for each of the layers' decisions."""
        bits = {name: (8,) for name in ("weight_bits", "activation_bits") if name in self.options}
        return {**self.options, **bits, "max_element_sparsity": 0.0}

    @pytest.fixture
    def problem(self) -> SearchProblem:
        return self.problem_of(evaluations=20, seed=3)

    def advance(self, searcher: Searcher, problem: SearchProblem, trials: int) -> list[Suggestion]:
        suggestions = []
        for _ in range(trials):
            suggestions.append(searcher.ask())
            searcher.tell(complete(problem, suggestions[-1]))
        return suggestions

    def test_suggestions_are_numbered_from_zero(
        self, create: Create, problem: SearchProblem
    ) -> None:
        suggestions = self.advance(create(problem), problem, self.trials)

        assert [each.number for each in suggestions] == list(range(self.trials))

    # A choice of the twelve: each value is there, and each metric with both grids of widths.
    @pytest.mark.parametrize(
        ("ratio", "round_to", "place"), [(0.3, 1, 0), (0.5, 8, 0), (0.3, 8, 1), (1.0, 1, 1)]
    )
    def test_every_policy_is_in_the_space_and_within_the_budget(
        self, create: Create, ratio: float, round_to: int, place: int
    ) -> None:
        problem = self.problem_of(
            ratio=ratio,
            evaluations=20,
            place=place,
            round_to=round_to,
            skip=("stem",),
            fix=(("stage1", 0.25),),
        )

        self.check_suggestions(create, problem)

    def test_a_latency_budget_is_kept_with_what_saves_time(self, create: Create) -> None:
        problem = self.timed_problem()
        if not problem.space.within(problem.space.smallest, problem.budget):
            pytest.skip("this space opens densities alone, and they save no time")

        self.check_suggestions(create, problem)

    def timed_problem(self) -> SearchProblem:
        return under_latency(self.problem_of(evaluations=20))

    def check_suggestions(self, create: Create, problem: SearchProblem) -> None:
        space = problem.space
        for suggestion in self.advance(create(problem), problem, self.trials):
            setting = space.setting(suggestion.policy)
            assert suggestion.role == "probe" or space.within(setting, problem.budget)
            assert all(v in allowed for v, allowed in zip(setting, space.allowed, strict=True))
            assert space.policy(setting).layers == suggestion.policy.layers

    def test_one_group_is_enough(self, create: Create) -> None:
        problem = self.problem_of(plain_graph((8,)), place=1, evaluations=8)

        suggestions = self.advance(create(problem), problem, self.trials // 2)

        assert all(len(each.policy.choices) == 1 for each in suggestions)

    def test_a_space_without_a_free_group_has_one_policy(self, create: Create) -> None:
        problem = problem_of(
            plain_graph((8, 8)), ratio=1.0, max_sparsity=0.0, evaluations=8, **self.closed_options()
        )

        suggestions = self.advance(create(problem), problem, self.trials // 2)

        assert len({each.policy for each in suggestions}) == 1
        assert suggestions[0].policy.widths(problem.space.graph) == (8, 8)

    def test_ask_several_times_before_a_tell(self, create: Create, problem: SearchProblem) -> None:
        searcher = create(problem)

        suggestions = [searcher.ask() for _ in range(self.trials)]
        for suggestion in reversed(suggestions):
            searcher.tell(complete(problem, suggestion))

        assert searcher.ask().number == self.trials

    def test_tell_of_an_unknown_number_changes_nothing(
        self, create: Create, problem: SearchProblem
    ) -> None:
        searcher, twin = create(problem), create(problem)
        suggestion = searcher.ask()
        twin.ask()

        with pytest.raises(TrialMismatch, match="never asked"):
            searcher.tell(complete(problem, Suggestion(7, suggestion.policy)))

        searcher.tell(complete(problem, suggestion))
        twin.tell(complete(problem, suggestion))
        assert self.advance(searcher, problem, 6) == self.advance(twin, problem, 6)

    def test_tell_twice_raises(self, create: Create, problem: SearchProblem) -> None:
        searcher = create(problem)
        suggestion = searcher.ask()
        searcher.tell(complete(problem, suggestion))

        with pytest.raises(TrialMismatch, match="told before"):
            searcher.tell(complete(problem, suggestion))

    def test_tell_of_a_running_trial_raises(self, create: Create, problem: SearchProblem) -> None:
        searcher = create(problem)
        suggestion = searcher.ask()

        with pytest.raises(TrialMismatch, match="running"):
            searcher.tell(suggestion.running())

        searcher.tell(complete(problem, suggestion))

    def test_failed_trials_never_stop_the_search(
        self, create: Create, problem: SearchProblem
    ) -> None:
        searcher = create(problem)

        for number in range(self.trials):
            suggestion = searcher.ask()
            searcher.tell(failed(suggestion) if number % 3 else complete(problem, suggestion))

        assert searcher.ask().number == self.trials

    def test_only_failed_trials_never_stop_the_search(
        self, create: Create, problem: SearchProblem
    ) -> None:
        searcher = create(problem)

        for _ in range(self.trials):
            searcher.tell(failed(searcher.ask()))

        assert searcher.ask().number == self.trials

    def test_same_seed_and_same_tells_give_same_suggestions(
        self, create: Create, problem: SearchProblem
    ) -> None:
        first = self.advance(create(problem), problem, self.trials)
        np.random.random(3)  # a searcher must not draw from the global generator

        assert self.advance(create(problem), problem, self.trials) == first

    @pytest.mark.parametrize("before", [0, 1, 9])
    def test_restored_it_asks_what_it_would_have_asked(
        self, create: Create, problem: SearchProblem, before: int
    ) -> None:
        original = create(problem)
        self.advance(original, problem, before)
        restored = create(problem)

        restored.restore(through_json(original.snapshot()))

        assert self.advance(restored, problem, 5) == self.advance(original, problem, 5)

    @pytest.mark.parametrize("before", [0, 8])
    def test_snapshot_between_an_ask_and_its_tell(
        self, create: Create, problem: SearchProblem, before: int
    ) -> None:
        original = create(problem)
        self.advance(original, problem, before)
        in_flight = [original.ask(), original.ask()]
        restored = create(problem)

        restored.restore(through_json(original.snapshot()))

        for searcher in (original, restored):
            for suggestion in reversed(in_flight):
                searcher.tell(complete(problem, suggestion))
        assert self.advance(restored, problem, 4) == self.advance(original, problem, 4)

    def test_snapshot_is_not_changed_by_what_follows(
        self, create: Create, problem: SearchProblem
    ) -> None:
        searcher = create(problem)
        self.advance(searcher, problem, 9)
        snapshot = searcher.snapshot()
        kept = through_json(snapshot)

        self.advance(searcher, problem, 3)

        assert json.dumps(dict(snapshot.values)) == json.dumps(dict(kept.values))
        assert snapshot.arrays.keys() == kept.arrays.keys()
        assert all(np.array_equal(snapshot.arrays[k], kept.arrays[k]) for k in kept.arrays)

    def test_grid_of_groups_is_never_left(self, create: Create) -> None:
        graph = residual_graph((8, 8, 8))
        problem = self.problem_of(graph, ratio=0.4, place=1, evaluations=20, round_to=4)

        for suggestion in self.advance(create(problem), problem, self.trials):
            assert all(width in (4, 8) for width in suggestion.policy.widths(problem.space.graph))
