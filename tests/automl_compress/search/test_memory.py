import numpy as np
import pytest

from automl_compress.core import Policy, Snapshot, TrialStore
from automl_compress.core.errors import WrongState
from automl_compress.search.memory import InProcessExecutor, MemoryTrialStore
from tests.contracts.trial_store import (
    SPACE,
    TrialStoreContract,
    complete,
    running,
    suggestion_of,
)
from tests.fakes import FormulaEvaluator


class TestMemoryTrialStore(TrialStoreContract):
    @pytest.fixture
    def store(self) -> TrialStore:
        return MemoryTrialStore()


def test_snapshot_that_is_no_json_leaves_the_trial_untold() -> None:
    store = MemoryTrialStore()
    store.asked(suggestion_of(0))

    with pytest.raises(TypeError):
        store.told(complete(suggestion_of(0)), Snapshot({"array": np.zeros(2)}))

    assert list(store.trials()) == [running(suggestion_of(0))]


def test_executor_returns_every_number_once() -> None:
    executor = InProcessExecutor(FormulaEvaluator(SPACE), capacity=2)
    executor.submit(4, suggestion_of(4).policy)
    executor.submit(2, suggestion_of(2).policy)

    outcomes = [executor.next_finished(), executor.next_finished(), executor.next_finished()]

    assert [each and each.number for each in outcomes] == [4, 2, None]


def test_executor_refuses_more_than_its_capacity() -> None:
    executor = InProcessExecutor(FormulaEvaluator(SPACE))
    executor.submit(0, suggestion_of(0).policy)

    with pytest.raises(WrongState, match="capacity is 1"):
        executor.submit(1, suggestion_of(1).policy)


def test_evaluator_that_raises_gives_a_failure() -> None:
    class Broken:
        def evaluate(self, policy: Policy, images: slice | None = None) -> None:
            raise ValueError("no images")

    executor = InProcessExecutor(Broken())  # type: ignore[arg-type]
    executor.submit(0, suggestion_of(0).policy)

    outcome = executor.next_finished()

    assert outcome is not None
    assert outcome.measurement is None
    assert outcome.failure == "ValueError: no images"


def test_closed_executor_has_forgotten_what_waited() -> None:
    executor = InProcessExecutor(FormulaEvaluator(SPACE))
    executor.submit(0, suggestion_of(0).policy)

    executor.close()

    assert executor.next_finished() is None
