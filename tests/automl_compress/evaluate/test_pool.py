"""Child processes that evaluate: what they return, and how they die."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from automl_compress.core import Outcome, Policy, Recipe
from automl_compress.core.errors import ModelInvalid, WrongState
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.evaluate.limits import TrialLimits, default_seconds
from automl_compress.evaluate.pool import EvaluationPool
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.evaluate.sleepy import HANGS, Broken, Sleepy
from tests.automl_compress.evaluate.splits import split
from tests.contracts.evaluator import deterministic
from tests.fakes import plain_graph

IMAGE = (3, 8, 8)
SEARCH, TRAIN = split("search", 24, seed=1), split("train", 16, seed=2)
RECIPE = Recipe(repair="none")
PATIENCE_SECONDS = 120.0  # for a child to start on a busy machine

pytestmark = pytest.mark.slow  # each child imports torch


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return trace(Sleepy(), IMAGE)


@pytest.fixture(scope="module")
def record(network: Network) -> EvaluatorRecord:
    return EvaluatorRecord.of(network, SEARCH, TRAIN, RECIPE)


@pytest.fixture(scope="module")
def pool(record: EvaluatorRecord) -> Iterator[EvaluationPool]:
    """One child, and less time for a trial than a child takes to start."""
    with EvaluationPool(record, limits=TrialLimits(seconds=1.0)) as pool:
        yield pool


def policy_of(network: Network, width: int) -> Policy:
    return Policy.from_widths(network.graph, [width])


def finish(pool: EvaluationPool) -> Outcome:
    outcome = pool.next_finished(PATIENCE_SECONDS)
    assert outcome is not None
    return outcome


def child_pids() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid}


def test_child_measures_what_this_process_measures(pool: EvaluationPool, network: Network) -> None:
    policy = policy_of(network, 3)

    pool.submit(7, policy)
    outcome = finish(pool)

    # Starting took longer than a trial may, and is not counted.
    assert (outcome.number, outcome.failure) == (7, None)
    assert outcome.measurement is not None
    expected = PolicyEvaluator(network, SEARCH, TRAIN, RECIPE).evaluate(policy)
    assert deterministic(outcome.measurement) == deterministic(expected)


def test_policy_of_another_network_fails_with_the_reason(pool: EvaluationPool) -> None:
    pool.submit(0, Policy.from_widths(plain_graph([8, 8]), [4, 4]))

    outcome = finish(pool)

    assert outcome.measurement is None
    assert "use a policy that was made for this network" in str(outcome.failure)


def test_busy_pool_takes_no_more(pool: EvaluationPool, network: Network) -> None:
    pool.submit(0, policy_of(network, 3))

    with pytest.raises(WrongState, match="1 evaluations are in flight"):
        pool.submit(1, policy_of(network, 3))

    assert finish(pool).number == 0


def test_idle_pool_has_nothing_to_wait_for(pool: EvaluationPool) -> None:
    assert pool.next_finished() is None


def kill_child() -> int:
    [pid] = child_pids()
    os.kill(pid, signal.SIGKILL)
    return pid


def test_trial_of_a_killed_child_runs_again(pool: EvaluationPool, network: Network) -> None:
    pool.submit(0, policy_of(network, 3))
    assert finish(pool).failure is None  # so the child is warm
    pool.submit(1, policy_of(network, 4))
    pid = kill_child()

    outcome = finish(pool)

    assert (outcome.number, outcome.failure) == (1, None)
    assert child_pids().isdisjoint({pid})


def test_trial_whose_process_dies_twice_fails_and_the_next_one_works(
    pool: EvaluationPool, network: Network
) -> None:
    pool.submit(0, policy_of(network, 3))
    finish(pool)
    pool.submit(1, policy_of(network, HANGS))
    first = kill_child()
    while child_pids() <= {first}:  # until its death is seen
        assert pool.next_finished(0.01) is None
    second = kill_child()

    killed = finish(pool)
    pool.submit(2, policy_of(network, 3))
    following = finish(pool)

    assert killed.number == 1
    assert killed.failure is not None
    assert "died 2 times, the last time with exit code -9" in killed.failure
    assert "memory runs out" in killed.failure
    assert (following.number, following.failure) == (2, None)
    assert child_pids().isdisjoint({first, second})


def test_child_killed_between_trials_is_replaced(pool: EvaluationPool, network: Network) -> None:
    pool.submit(0, policy_of(network, 3))
    finish(pool)
    [child] = multiprocessing.active_children()
    child.kill()
    child.join()

    pool.submit(1, policy_of(network, 3))

    assert finish(pool).failure is None


def test_trial_that_takes_too_long_is_killed(pool: EvaluationPool, network: Network) -> None:
    pool.submit(0, policy_of(network, 3))
    finish(pool)
    [pid] = child_pids()
    pool.submit(1, policy_of(network, HANGS))
    began = time.monotonic()

    outcome = finish(pool)

    assert (outcome.number, outcome.measurement) == (1, None)
    assert "took longer than its limit of 1 s and was killed" in str(outcome.failure)
    assert 1.0 <= time.monotonic() - began < 30.0
    assert child_pids().isdisjoint({pid})


def test_time_limit_grows_with_the_uncut_network_and_is_never_short() -> None:
    assert default_seconds(0.01) == 60
    assert default_seconds(10) == 300


def test_two_children_answer_every_trial_once_and_leave_no_process(
    record: EvaluatorRecord, network: Network
) -> None:
    others = child_pids()
    numbers = []
    pool = EvaluationPool(record, processes=2)
    for number in range(5):
        if number >= pool.capacity:
            numbers.append(finish(pool).number)
        pool.submit(number, policy_of(network, 1 + number if 1 + number != HANGS else 6))
    while (outcome := pool.next_finished(PATIENCE_SECONDS)) is not None:
        numbers.append(outcome.number)
    pool.submit(9, policy_of(network, HANGS))

    pool.close()

    assert sorted(numbers) == list(range(5))
    assert child_pids() == others


def test_evaluator_that_cannot_be_built_says_why() -> None:
    record = EvaluatorRecord(Broken(), IMAGE, SEARCH, TRAIN, RECIPE)

    with EvaluationPool(record) as pool:
        pool.submit(0, Policy(()))
        outcome = finish(pool)

    assert outcome.failure is not None
    assert outcome.failure.startswith("the evaluator cannot be built: ModelInvalid: ")
    assert "no forward pass today" in outcome.failure


def test_network_that_cannot_be_sent_is_refused() -> None:
    class Local(nn.Module):
        """Its class has no name that another process could import."""

    record = EvaluatorRecord(Local(), IMAGE, SEARCH, TRAIN, RECIPE)

    with pytest.raises(ModelInvalid, match="cannot be sent to another process"):
        EvaluationPool(record)
