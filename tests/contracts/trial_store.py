"""What every trial store must do. Subclass `TrialStoreContract` and say how to open one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from automl_compress.core import (
    Asked,
    Measurement,
    Policy,
    Snapshot,
    Suggestion,
    Told,
    Trial,
    TrialStore,
)
from automl_compress.core.errors import TrialMismatch
from tests.fakes import FormulaEvaluator, plain_graph, space_of

SPACE = space_of(plain_graph((8, 16)))


def suggestion_of(number: int, note: str = "") -> Suggestion:
    width = 1 + number % 7
    return Suggestion(number, Policy.from_widths(SPACE.graph, (width, 2 * width)), note)


def measurement_of(suggestion: Suggestion) -> Measurement:
    return FormulaEvaluator(SPACE).evaluate(suggestion.policy)


def complete(suggestion: Suggestion) -> Trial:
    return suggestion.complete(measurement_of(suggestion))


def failed(suggestion: Suggestion) -> Trial:
    return suggestion.failed("made up")


def running(suggestion: Suggestion) -> Trial:
    return suggestion.running()


SNAPSHOT = Snapshot(
    {"count": 3, "nested": {"rate": 0.1, "none": None, "list": [1, "two"]}, "large": 2**40},
    {
        "single": np.linspace(0, 1, 7, dtype=np.float32).reshape(1, 7),
        "double": np.array([1 / 3]),
        "whole": np.arange(3),
        "flags": np.array([True, False]),
        "scalar": np.array(2.5, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
    },
)


class TrialStoreContract:
    """Run on every trial store; `store` is a fixture of the subclass, an empty one."""

    def test_an_empty_store_has_nothing(self, store: TrialStore) -> None:
        assert list(store.trials()) == []
        snapshot, events = store.history()
        assert snapshot is None
        assert list(events) == []

    def test_an_asked_trial_is_running(self, store: TrialStore) -> None:
        store.asked(suggestion_of(0, note="first"))

        assert list(store.trials()) == [running(suggestion_of(0, note="first"))]

    def test_a_probe_on_a_subset_comes_back_equal(self, store: TrialStore) -> None:
        probe = replace(suggestion_of(0), role="probe", images=64)
        measured = FormulaEvaluator(SPACE).evaluate(probe.policy, slice(0, 64))

        store.asked(probe)
        assert list(store.trials()) == [probe.running()]
        store.told(probe.complete(measured))

        assert list(store.trials()) == [probe.complete(measured)]
        assert list(store.history()[1]) == [Asked(probe), Told(probe.complete(measured))]

    def test_a_told_trial_comes_back_equal(self, store: TrialStore) -> None:
        suggestions = [suggestion_of(0, note="why"), suggestion_of(1)]
        for suggestion in suggestions:
            store.asked(suggestion)

        store.told(complete(suggestions[0]))
        store.told(failed(suggestions[1]))

        assert list(store.trials()) == [complete(suggestions[0]), failed(suggestions[1])]

    def test_trials_come_by_number(self, store: TrialStore) -> None:
        for number in (0, 1, 2):
            store.asked(suggestion_of(number))
        for number in (2, 0):
            store.told(complete(suggestion_of(number)))

        assert [trial.number for trial in store.trials()] == [0, 1, 2]
        assert [trial.state.value for trial in store.trials()] == [
            "complete", "running", "complete",
        ]  # fmt: skip

    def test_history_is_in_the_order_of_what_happened(self, store: TrialStore) -> None:
        first, second = suggestion_of(0), suggestion_of(1)
        store.asked(first)
        store.asked(second)
        store.told(failed(second))
        store.told(complete(first))

        _, events = store.history()

        assert list(events) == [
            Asked(first), Asked(second), Told(failed(second)), Told(complete(first)),
        ]  # fmt: skip

    def test_asking_again_changes_nothing(self, store: TrialStore) -> None:
        store.asked(suggestion_of(0))

        store.asked(suggestion_of(0))

        assert len(store.trials()) == 1
        assert len(store.history()[1]) == 1

    def test_asking_again_after_the_tell_changes_nothing(self, store: TrialStore) -> None:
        store.asked(suggestion_of(0))
        store.told(complete(suggestion_of(0)))

        store.asked(suggestion_of(0))

        assert list(store.trials()) == [complete(suggestion_of(0))]

    def test_one_number_has_one_policy(self, store: TrialStore) -> None:
        store.asked(suggestion_of(0))

        with pytest.raises(TrialMismatch):
            store.asked(Suggestion(0, suggestion_of(1).policy))

        assert list(store.trials()) == [running(suggestion_of(0))]

    def test_a_tell_without_an_ask_raises(self, store: TrialStore) -> None:
        with pytest.raises(TrialMismatch):
            store.told(complete(suggestion_of(4)))

        assert list(store.trials()) == []

    def test_a_told_trial_stays_as_it_is(self, store: TrialStore) -> None:
        store.asked(suggestion_of(0))
        store.told(complete(suggestion_of(0)))

        with pytest.raises(TrialMismatch):
            store.told(failed(suggestion_of(0)), SNAPSHOT)

        assert list(store.trials()) == [complete(suggestion_of(0))]
        assert store.history()[0] is None
        assert len(store.history()[1]) == 2

    def test_a_snapshot_comes_back_bit_for_bit(self, store: TrialStore) -> None:
        store.asked(suggestion_of(0))
        store.told(complete(suggestion_of(0)), SNAPSHOT)

        snapshot, _ = store.history()

        assert snapshot is not None
        assert json.dumps(dict(snapshot.values)) == json.dumps(dict(SNAPSHOT.values))
        assert snapshot.arrays.keys() == SNAPSHOT.arrays.keys()
        for name, array in SNAPSHOT.arrays.items():
            assert snapshot.arrays[name].dtype == array.dtype
            assert snapshot.arrays[name].shape == array.shape
            assert np.array_equal(snapshot.arrays[name], array)

    def test_history_begins_after_the_latest_snapshot(self, store: TrialStore) -> None:
        for number in range(4):
            store.asked(suggestion_of(number))
        store.told(complete(suggestion_of(0)), Snapshot({"told": 1}))
        store.told(complete(suggestion_of(1)), Snapshot({"told": 2}))
        store.told(complete(suggestion_of(2)))
        store.asked(suggestion_of(4))

        snapshot, events = store.history()

        assert snapshot is not None
        assert snapshot.values == {"told": 2}
        assert list(events) == [Told(complete(suggestion_of(2))), Asked(suggestion_of(4))]

    def test_what_the_searcher_does_later_does_not_reach_the_store(self, store: TrialStore) -> None:
        weights = np.zeros(3, dtype=np.float32)
        store.asked(suggestion_of(0))
        store.told(complete(suggestion_of(0)), Snapshot({}, {"weights": weights}))

        weights += 1

        snapshot, _ = store.history()
        assert snapshot is not None
        assert snapshot.arrays["weights"].tolist() == [0, 0, 0]
