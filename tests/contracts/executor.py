"""What every executor must do. Subclass `ExecutorContract` and say how to open one."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from typing import Protocol

import pytest
import torch

from automl_compress.core import Executor, Outcome, Policy, Recipe
from automl_compress.core.errors import ModelInvalid, WrongState
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.evaluate.sleepy import HANGS, Broken, Sleepy
from tests.automl_compress.evaluate.splits import split
from tests.contracts.evaluator import deterministic
from tests.fakes import plain_graph

IMAGE = (3, 8, 8)
SEARCH, TRAIN = split("search", 24, seed=1), split("train", 16, seed=2)
RECIPE = Recipe(repair="none")
PATIENCE_SECONDS = 120.0  # for a child to start on a busy machine


def policy_of(network: Network, width: int) -> Policy:
    return Policy.from_widths(network.graph, [width])


def finish(executor: Executor) -> Outcome:
    outcome = executor.next_finished(PATIENCE_SECONDS)
    assert outcome is not None
    return outcome


class OpenExecutor(Protocol):
    """Opens an executor whose trials may take so long."""

    def __call__(
        self, record: EvaluatorRecord, capacity: int, seconds: float | None = None
    ) -> Executor: ...


Processes = Callable[[], Set[int]]  # those that evaluate now, wherever they are


def kill(processes: Processes) -> Set[int]:
    """Kill what evaluates, also what only waits for work."""
    found = processes()
    for process_id in found:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    return found


def wait_for_the_end_of(killed: Set[int], processes: Processes) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while killed & processes():
        assert time.monotonic() < deadline, "a killed process evaluates still"
        time.sleep(0.01)


class ExecutorContract:
    """Run on every executor; `open_executor` and `processes` are fixtures of the subclass."""

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls) -> Network:
        torch.manual_seed(0)
        return trace(Sleepy(), IMAGE)

    @pytest.fixture(scope="class")
    @classmethod
    def record(cls, network: Network) -> EvaluatorRecord:
        return EvaluatorRecord.of(network, SEARCH, TRAIN, RECIPE)

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, open_executor: OpenExecutor, record: EvaluatorRecord) -> Iterator[Executor]:
        """One evaluation at once, and less time for it than a process takes to start."""
        executor = open_executor(record, 1, 1.0)
        yield executor
        executor.close()

    def test_it_measures_what_this_process_measures(
        self, executor: Executor, network: Network
    ) -> None:
        policy = policy_of(network, 3)

        executor.submit(7, policy)
        outcome = finish(executor)

        # Starting took longer than a trial may, and is not counted.
        assert (outcome.number, outcome.failure) == (7, None)
        assert outcome.measurement is not None
        expected = PolicyEvaluator(network, SEARCH, TRAIN, RECIPE).evaluate(policy)
        assert deterministic(outcome.measurement) == deterministic(expected)

    def test_a_policy_of_another_network_fails_with_the_reason(self, executor: Executor) -> None:
        executor.submit(0, Policy.from_widths(plain_graph([8, 8]), [4, 4]))

        outcome = finish(executor)

        assert outcome.measurement is None
        assert "use a policy that was made for this network" in str(outcome.failure)

    def test_a_busy_executor_takes_no_more(self, executor: Executor, network: Network) -> None:
        executor.submit(0, policy_of(network, 3))

        with pytest.raises(WrongState, match="1 evaluations are in flight"):
            executor.submit(1, policy_of(network, 3))

        assert finish(executor).number == 0

    def test_an_idle_executor_has_nothing_to_wait_for(self, executor: Executor) -> None:
        assert executor.next_finished() is None

    def test_the_trial_of_a_killed_process_runs_again(
        self, processes: Processes, executor: Executor, network: Network
    ) -> None:
        executor.submit(0, policy_of(network, 3))
        assert finish(executor).failure is None  # so the process is warm
        executor.submit(1, policy_of(network, 4))
        killed = kill(processes)

        outcome = finish(executor)

        assert killed
        assert (outcome.number, outcome.failure) == (1, None)
        wait_for_the_end_of(killed, processes)  # its answer may have been quicker than its death

    def test_a_trial_whose_process_dies_twice_fails_and_the_next_one_works(
        self, processes: Processes, executor: Executor, network: Network
    ) -> None:
        executor.submit(0, policy_of(network, 3))
        finish(executor)
        executor.submit(1, policy_of(network, HANGS))
        dead: set[int] = set()
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Whether the first one dies while it works or just before is the machine's choice.
        while (killed := executor.next_finished(0.2)) is None and time.monotonic() < deadline:
            dead |= kill(processes)
        executor.submit(2, policy_of(network, 3))
        following = finish(executor)

        assert killed is not None
        assert killed.number == 1
        assert killed.failure is not None
        assert "died 2 times, the last time with exit code -9" in killed.failure
        assert "memory runs out" in killed.failure
        assert (following.number, following.failure) == (2, None)
        wait_for_the_end_of(dead, processes)

    def test_a_process_killed_between_trials_is_replaced(
        self, processes: Processes, executor: Executor, network: Network
    ) -> None:
        executor.submit(0, policy_of(network, 3))
        finish(executor)
        killed = kill(processes)
        wait_for_the_end_of(killed, processes)

        executor.submit(1, policy_of(network, 3))

        assert killed
        assert finish(executor).failure is None

    def test_a_trial_that_takes_too_long_is_killed(
        self, processes: Processes, executor: Executor, network: Network
    ) -> None:
        executor.submit(0, policy_of(network, 3))
        finish(executor)
        before = processes()
        executor.submit(1, policy_of(network, HANGS))
        began = time.monotonic()

        outcome = finish(executor)

        assert (outcome.number, outcome.measurement) == (1, None)
        assert "took longer than its limit of 1 s and was killed" in str(outcome.failure)
        assert 1.0 <= time.monotonic() - began < 30.0
        assert processes() - before, "another one has taken its place"

    def test_two_at_once_answer_every_trial_once_and_close_drops_what_is_in_flight(
        self,
        processes: Processes,
        open_executor: OpenExecutor,
        record: EvaluatorRecord,
        network: Network,
    ) -> None:
        others = processes()
        numbers = []
        executor = open_executor(record, 2)
        for number in range(5):
            if number >= executor.capacity:
                numbers.append(finish(executor).number)
            executor.submit(number, policy_of(network, 1 + number if 1 + number != HANGS else 6))
        while (outcome := executor.next_finished(PATIENCE_SECONDS)) is not None:
            numbers.append(outcome.number)
        used = processes() - others
        executor.submit(9, policy_of(network, HANGS))
        assert executor.next_finished(1.0) is None  # by now it runs

        executor.close()

        assert sorted(numbers) == list(range(5))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while used <= processes():  # those that wait for work may do so a little longer
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_an_evaluator_that_cannot_be_built_says_why(self, open_executor: OpenExecutor) -> None:
        executor = open_executor(EvaluatorRecord(Broken(), IMAGE, SEARCH, TRAIN, RECIPE), 1)
        executor.submit(0, Policy(()))

        outcome = finish(executor)

        executor.close()
        assert outcome.failure is not None
        assert outcome.failure.startswith("the evaluator cannot be built: ModelInvalid: ")
        assert "no forward pass today" in outcome.failure

    def test_a_network_that_cannot_be_sent_is_refused(self, open_executor: OpenExecutor) -> None:
        class Local(Sleepy):
            """Its class has no name that another process could import."""

        record = EvaluatorRecord(Local(), IMAGE, SEARCH, TRAIN, RECIPE)

        with pytest.raises(ModelInvalid, match="cannot be sent to another process"):
            open_executor(record, 1)
