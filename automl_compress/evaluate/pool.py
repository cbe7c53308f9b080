"""Warm child processes that evaluate policies; an `Executor`.

Children are spawned, not forked, use one thread each, and can be killed alone: a trial that
crashes its process fails, and the next one finds a new process.
"""

import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from automl_compress.core import Outcome, Policy
from automl_compress.core.errors import AutomlCompressError, ModelInvalid, WrongState
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator

JOIN_SECONDS = 2.0  # a killed child is gone by then
WARM_UP_SECONDS = 300.0  # to start, trace and compile, on top of the first trial's seconds


@dataclass
class _Child:
    process: BaseProcess
    pipe: Connection
    number: int | None = None  # of the trial that it evaluates
    began: float = field(default_factory=time.monotonic)
    is_warm: bool = False  # has built its evaluator, or cannot


class EvaluationPool:
    """Evaluates policies in child processes of this one."""

    def __init__(
        self,
        record: EvaluatorRecord,
        processes: int = 1,
        trial_seconds: float | None = None,
    ) -> None:
        """Start the children; they warm up while the caller goes on.

        Args:
            record: what each child builds its evaluator from.
            processes: how many, and so how many evaluations run at once.
            trial_seconds: an evaluation that takes longer is killed and has failed; None waits
                for ever.

        Raises:
            ModelInvalid: the network cannot be sent to another process.
        """
        self.capacity = processes
        # Our own process wrote this pickle and our own child reads it: no upload is involved.
        try:
            self._record = pickle.dumps(record)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ModelInvalid(
                f"the network cannot be sent to another process: {error}; define its classes and "
                "functions at the top level of an importable module"
            ) from error
        self._trial_seconds = trial_seconds
        self._children = [self._spawn() for _ in range(processes)]

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        """Send a policy to an idle child.

        Raises:
            WrongState: all children are busy.
        """
        for child in self._children:
            if child.number is None:
                try:
                    child.pipe.send((number, policy, images))
                except OSError:  # it died idle; the new one cannot have died yet
                    child = self._replace(child)
                    child.pipe.send((number, policy, images))
                child.number, child.began = number, time.monotonic()
                return
        raise WrongState(f"{self.capacity} evaluations are in flight; wait for one to finish")

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        """Wait for the next outcome; None when the time ran out before one came."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while any(child.number is not None for child in self._children):
            busy = [child for child in self._children if child.number is not None]
            ready = wait([child.pipe for child in busy], self._patience(busy, deadline))
            for child in busy:
                outcome = self._look_after(child, child.pipe in ready)
                if outcome is not None:
                    return outcome
            if deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def close(self) -> None:
        """End every child; evaluations in flight are dropped."""
        for child in self._children:
            child.pipe.close()
            child.process.kill()
        for child in self._children:
            child.process.join(JOIN_SECONDS)
        self._children = []

    def __enter__(self) -> "EvaluationPool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _spawn(self) -> _Child:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(theirs, reader, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        reader.close()
        # The child reads only once it has imported torch, and a pipe holds 64 kB.
        threading.Thread(target=_send, args=(writer, self._record), daemon=True).start()
        return _Child(process, ours)

    def _replace(self, child: _Child) -> _Child:
        child.pipe.close()
        child.process.kill()
        child.process.join(JOIN_SECONDS)
        fresh = self._children[self._children.index(child)] = self._spawn()
        return fresh

    def _look_after(self, child: _Child, is_ready: bool) -> Outcome | None:
        """Return the outcome of a busy child's trial, if there is one by now."""
        if is_ready:
            return self._receive(child)
        if time.monotonic() > self._deadline(child):
            return self._fail(
                child, f"the evaluation took longer than {self._trial_seconds:g} s; killed"
            )
        return None

    def _receive(self, child: _Child) -> Outcome | None:
        try:
            outcome: Outcome | None = child.pipe.recv()
        except (EOFError, OSError):
            child.process.join(JOIN_SECONDS)
            code = child.process.exitcode
            return self._fail(child, f"the evaluating process ended with exit code {code}")
        if outcome is None:
            child.is_warm, child.began = True, time.monotonic()
        else:
            child.number = None
        return outcome

    def _fail(self, child: _Child, failure: str) -> Outcome:
        assert child.number is not None
        self._replace(child)
        return Outcome(child.number, failure=failure)

    def _deadline(self, child: _Child) -> float:
        """Return when a busy child is given up."""
        if self._trial_seconds is None:
            return math.inf
        return child.began + self._trial_seconds + (0.0 if child.is_warm else WARM_UP_SECONDS)

    def _patience(self, busy: list[_Child], deadline: float | None) -> float | None:
        first = min(
            math.inf if deadline is None else deadline, *(self._deadline(child) for child in busy)
        )
        return None if first == math.inf else max(first - time.monotonic(), 0.0)


def _send(writer: Connection, record: bytes) -> None:
    with writer, suppress(OSError):  # a child that dies early is noticed by its other pipe
        writer.send_bytes(record)


def _serve(pipe: Connection, reader: Connection, parent: int) -> None:
    """Build the evaluator, say so with None, then answer policies until the pipe closes."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(1)
    failure: str | None = None
    evaluator = None
    try:
        record: EvaluatorRecord = pickle.loads(reader.recv_bytes())  # noqa: S301 - our parent's
        evaluator = record.build()
    except Exception as error:  # reported with every trial instead of dying silently
        failure = f"the evaluator cannot be built: {type(error).__name__}: {error}"
    with suppress(EOFError, OSError):  # the parent is gone
        pipe.send(None)
        while os.getppid() == parent:
            number, policy, images = pipe.recv()
            if evaluator is None:
                pipe.send(Outcome(number, failure=failure))
            else:
                pipe.send(_outcome(evaluator, number, policy, images))


def _outcome(
    evaluator: PolicyEvaluator, number: int, policy: Policy, images: slice | None
) -> Outcome:
    try:
        return Outcome(number, measurement=evaluator.evaluate(policy, images))
    except AutomlCompressError as error:
        return Outcome(number, failure=str(error))
    except Exception as error:  # one bad trial must not end the process
        return Outcome(number, failure=f"{type(error).__name__}: {error}")
