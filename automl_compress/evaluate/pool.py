"""Warm child processes that evaluate policies; an `Executor`.

Children are spawned, not forked, use one thread each, and can be killed alone: a trial that takes
more than its limits fails, and the next one finds a new process. A process that dies under its
trial is no verdict on the policy, so the trial runs once more; if it dies again, the trial fails.
"""

import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from automl_compress.core import Evaluator, Outcome, Policy
from automl_compress.core.errors import AutomlCompressError, ModelInvalid, WrongState
from automl_compress.evaluate.isolated import ending
from automl_compress.evaluate.limits import TrialLimits, be_the_first_to_go, resident_bytes

JOIN_SECONDS = 10.0  # a killed child is gone by then
WARM_UP_SECONDS = 300.0  # to start, trace and compile, on top of the first trial's seconds
PARENT_SECONDS = 1.0  # between two looks of a child whether its parent is alive
WATCH_SECONDS = 0.1  # between two looks at the memory of busy children
TRIES = 2  # of a trial whose process dies

_Task = tuple[int, Policy, slice | None]


class EvaluatorRecord(Protocol):
    """What another process builds its evaluator from; it can be pickled."""

    def build(self) -> Evaluator:
        """Make the evaluator; takes seconds."""
        ...


@dataclass
class _Child:
    process: BaseProcess
    pipe: Connection
    task: _Task | None = None  # what it evaluates
    tries: int = 0  # of the task, this one included
    began: float = field(default_factory=time.monotonic)
    is_warm: bool = False  # has built its evaluator, or cannot


class EvaluationPool:
    """Evaluates policies in child processes of this one."""

    def __init__(
        self,
        record: EvaluatorRecord,
        processes: int = 1,
        limits: TrialLimits | None = None,
    ) -> None:
        """Start the children; they warm up while the caller goes on.

        Args:
            record: what each child builds its evaluator from.
            processes: how many, and so how many evaluations run at once.
            limits: an evaluation that takes more is killed and has failed; None for no limits.

        Raises:
            ModelInvalid: the network cannot be sent to another process.
        """
        self.capacity = processes
        self._record = pickled(record)
        self._limits = limits or TrialLimits()
        self._children = [self._spawn() for _ in range(processes)]

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        """Send a policy to an idle child.

        Raises:
            WrongState: all children are busy.
        """
        for child in self._children:
            if child.task is None:
                return self._start(child, (number, policy, images), tries=1)
        raise WrongState(f"{self.capacity} evaluations are in flight; wait for one to finish")

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        """Wait for the next outcome; None when the time ran out before one came."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while busy := [child for child in self._children if child.task is not None]:
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

    def _start(self, child: _Child, task: _Task, tries: int) -> None:
        if not child.process.is_alive():  # it died idle
            child = self._replace(child)
        with suppress(OSError):  # it dies just now, and its pipe will say so: one of its tries
            child.pipe.send(task)
        child.task, child.tries, child.began = task, tries, time.monotonic()

    def _look_after(self, child: _Child, is_ready: bool) -> Outcome | None:
        """Return the outcome of a busy child's trial, if there is one by now."""
        if is_ready:
            return self._receive(child)
        if time.monotonic() > self._deadline(child):
            return self._fail(child, self._limits.too_long)
        limit, process_id = self._limits.memory_bytes, child.process.pid
        if limit is not None and process_id is not None:
            used = resident_bytes(process_id)
            if used > limit:
                return self._fail(child, self._limits.too_large(used))
        return None

    def _receive(self, child: _Child) -> Outcome | None:
        try:
            outcome: Outcome | None = child.pipe.recv()
        except (EOFError, OSError):
            return self._try_again(child)
        if outcome is None:
            child.is_warm, child.began = True, time.monotonic()
        else:
            child.task = None
        return outcome

    def _try_again(self, dead: _Child) -> Outcome | None:
        assert dead.task is not None
        if dead.tries >= TRIES:
            dead.process.join(JOIN_SECONDS)
            return self._fail(dead, _death(dead.process.exitcode))
        self._start(self._replace(dead), dead.task, dead.tries + 1)
        return None

    def _fail(self, child: _Child, failure: str) -> Outcome:
        assert child.task is not None
        self._replace(child)
        return Outcome(child.task[0], failure=failure)

    def _deadline(self, child: _Child) -> float:
        """Return when a busy child is given up."""
        if self._limits.seconds is None:
            return math.inf
        return child.began + self._limits.seconds + (0.0 if child.is_warm else WARM_UP_SECONDS)

    def _patience(self, busy: list[_Child], deadline: float | None) -> float | None:
        now = time.monotonic()
        ends = [math.inf if deadline is None else deadline, *map(self._deadline, busy)]
        if self._limits.memory_bytes is not None:
            ends.append(now + WATCH_SECONDS)
        first = min(ends)
        return None if first == math.inf else max(first - now, 0.0)


def pickled(record: EvaluatorRecord) -> bytes:
    """Return a record as it travels; our own processes read it, no upload is involved.

    Raises:
        ModelInvalid: the network cannot be sent to another process.
    """
    try:
        return pickle.dumps(record)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ModelInvalid(
            f"the network cannot be sent to another process: {error}; define its classes and "
            "functions at the top level of an importable module"
        ) from error


def _death(exit_code: int | None) -> str:
    failure = f"the evaluating process died {TRIES} times, the last time with {ending(exit_code)}"
    if exit_code == -signal.SIGKILL:
        return f"{failure}: the kernel does so when memory runs out; give the machine more"
    return failure


def _send(writer: Connection, record: bytes) -> None:
    with writer, suppress(OSError):  # a child that dies early is noticed by its other pipe
        writer.send_bytes(record)


def _serve(pipe: Connection, reader: Connection, parent: int) -> None:
    """Build the evaluator, say so with None, then answer policies until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    be_the_first_to_go()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    failure: str | None = None
    evaluator = None
    try:
        record: EvaluatorRecord = pickle.loads(reader.recv_bytes())  # noqa: S301 - our parent's
        _use_one_thread()
        evaluator = record.build()
    except Exception as error:  # reported with every trial instead of dying silently
        failure = f"the evaluator cannot be built: {type(error).__name__}: {error}"
    with suppress(EOFError, OSError):  # the parent is gone
        pipe.send(None)
        while True:
            number, policy, images = pipe.recv()
            if evaluator is None:
                pipe.send(Outcome(number, failure=failure))
            else:
                pipe.send(_outcome(evaluator, number, policy, images))


def _end_with(parent: int) -> None:
    """End this process once its parent is gone, also from within a trial that hangs."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _use_one_thread() -> None:
    """Keep torch to one thread, if what was read needs torch at all."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _outcome(evaluator: Evaluator, number: int, policy: Policy, images: slice | None) -> Outcome:
    try:
        return Outcome(number, measurement=evaluator.evaluate(policy, images))
    except AutomlCompressError as error:
        return Outcome(number, failure=str(error))
    except Exception as error:  # one bad trial must not end the process
        return Outcome(number, failure=f"{type(error).__name__}: {error}")
