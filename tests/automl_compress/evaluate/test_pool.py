"""Child processes that evaluate: what they return, and how they die."""

import multiprocessing

import pytest

from automl_compress.evaluate.evaluator import EvaluatorRecord
from automl_compress.evaluate.limits import TrialLimits, default_seconds
from automl_compress.evaluate.pool import EvaluationPool
from tests.contracts.executor import ExecutorContract, OpenExecutor, Processes

pytestmark = pytest.mark.slow  # each child imports torch


@pytest.fixture(scope="module")
def open_executor() -> OpenExecutor:
    def opened(
        record: EvaluatorRecord, capacity: int, seconds: float | None = None
    ) -> EvaluationPool:
        return EvaluationPool(record, capacity, TrialLimits(seconds))

    return opened


@pytest.fixture(scope="module")
def processes() -> Processes:
    return lambda: {child.pid for child in multiprocessing.active_children() if child.pid}


class TestEvaluationPool(ExecutorContract):
    """Run the contract."""


def test_time_limit_grows_with_the_uncut_network_and_is_never_short() -> None:
    assert default_seconds(0.01) == 60
    assert default_seconds(10) == 300
