"""Warm child processes that evaluate policies; an `Executor`.

Children are spawned, not forked, use one thread each, and can be killed alone: a trial that
crashes its process fails, and the next one finds a new process.
"""

import multiprocessing
import os
import pickle
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from automl_compress.core import Outcome, Policy
from automl_compress.core.errors import AutomlCompressError, WrongState
from automl_compress.evaluate.evaluator import EvaluatorRecord

JOIN_SECONDS = 2.0  # a child that ignores the end of its pipe for longer is killed


@dataclass
class _Child:
    process: BaseProcess
    pipe: Connection
    number: int | None = None  # of the trial that it evaluates
    began: float = field(default_factory=time.monotonic)


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
        """
        self.capacity = processes
        # Our own process wrote this pickle and our own child reads it: no upload is involved.
        self._record = pickle.dumps(record)
        self._trial_seconds = trial_seconds
        self._children = [self._spawn() for _ in range(processes)]

    def submit(self, number: int, policy: Policy) -> None:
        """Send a policy to an idle child.

        Raises:
            WrongState: all children are busy.
        """
        for place, child in enumerate(self._children):
            if child.number is None:
                if not child.process.is_alive():
                    child = self._children[place] = self._replace(child)
                child.number, child.began = number, time.monotonic()
                child.pipe.send((number, policy))
                return
        raise WrongState(f"{self.capacity} evaluations are in flight; wait for one to finish")

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        """Wait for the next outcome; None when the time ran out before one came."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while any(child.number is not None for child in self._children):
            busy = [child for child in self._children if child.number is not None]
            ready = wait([child.pipe for child in busy], self._patience(busy, deadline))
            for child in busy:
                if child.pipe in ready:
                    return self._receive(child)
                if self._is_overdue(child):
                    return self._give_up(child)
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
        process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        ours.send_bytes(self._record)
        return _Child(process, ours)

    def _replace(self, child: _Child) -> _Child:
        child.pipe.close()
        child.process.kill()
        child.process.join(JOIN_SECONDS)
        return self._spawn()

    def _receive(self, child: _Child) -> Outcome:
        number = child.number
        assert number is not None
        try:
            outcome: Outcome = child.pipe.recv()
        except (EOFError, OSError):
            child.process.join(JOIN_SECONDS)
            code = child.process.exitcode
            self._children[self._children.index(child)] = self._replace(child)
            return Outcome(number, failure=f"the evaluating process ended with exit code {code}")
        child.number = None
        return outcome

    def _is_overdue(self, child: _Child) -> bool:
        limit = self._trial_seconds
        return limit is not None and time.monotonic() - child.began > limit

    def _give_up(self, child: _Child) -> Outcome:
        number = child.number
        assert number is not None
        self._children[self._children.index(child)] = self._replace(child)
        return Outcome(
            number, failure=f"the evaluation took longer than {self._trial_seconds:g} s; killed"
        )

    def _patience(self, busy: list[_Child], deadline: float | None) -> float | None:
        moments = [] if deadline is None else [deadline]
        if self._trial_seconds is not None:
            moments += [child.began + self._trial_seconds for child in busy]
        return max(min(moments) - time.monotonic(), 0.0) if moments else None


def _serve(pipe: Connection, parent: int) -> None:
    """Build the evaluator, then answer policies with outcomes until the pipe closes."""
    import torch

    torch.set_num_threads(1)
    record: EvaluatorRecord = pickle.loads(pipe.recv_bytes())  # noqa: S301 - our parent wrote it
    failure: str | None = None
    evaluator = None
    try:
        evaluator = record.build()
    except Exception as error:  # reported with every trial instead of dying silently
        failure = f"the evaluator cannot be built: {type(error).__name__}: {error}"
    while os.getppid() == parent:
        try:
            number, policy = pipe.recv()
        except (EOFError, OSError):
            return
        if evaluator is None:
            pipe.send(Outcome(number, failure=failure))
            continue
        try:
            pipe.send(Outcome(number, measurement=evaluator.evaluate(policy)))
        except AutomlCompressError as error:
            pipe.send(Outcome(number, failure=str(error)))
        except Exception as error:  # one bad trial must not end the process
            pipe.send(Outcome(number, failure=f"{type(error).__name__}: {error}"))
