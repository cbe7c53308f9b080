"""What runs on a node of a cluster; Ray itself is not needed here."""

import pickle
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from automl_compress.core import Evaluator, Outcome, Policy
from automl_compress.evaluate.limits import TrialLimits
from automl_compress.evaluate.pool import EvaluationPool, EvaluatorRecord

IDLE_SECONDS = 60.0  # until the child process of a node that evaluates no more is ended


@dataclass(frozen=True)
class PickledRecord:
    """An evaluator's record as it travelled; only the child process, which needs torch, opens it.

    content: uint8 (bytes,), the pickle of an `EvaluatorRecord`.
    """

    content: np.ndarray

    def build(self) -> Evaluator:
        """Open the record, and make the evaluator."""
        record: EvaluatorRecord = pickle.loads(self.content.data)  # noqa: S301 - our own driver's
        return record.build()


class _WarmPool:
    """The pool of this process: one child, for the record that was used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._record_id = ""
        self._pool: EvaluationPool | None = None
        self._timer: threading.Timer | None = None

    @contextmanager
    def serving(
        self, record_id: str, record: EvaluatorRecord, limits: TrialLimits
    ) -> Generator[EvaluationPool]:
        """Lend the pool for one evaluation; it is started anew for another record."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._pool is None or self._record_id != record_id:
                self._close()
                self._pool, self._record_id = EvaluationPool(record, limits=limits), record_id
            yield self._pool
            self._timer = threading.Timer(IDLE_SECONDS, self._close_idle)
            self._timer.daemon = True
            self._timer.start()

    def _close_idle(self) -> None:
        with self._lock:
            if threading.current_thread() is self._timer:  # not cancelled while it waited
                self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._pool = self._timer = None


_WARM = _WarmPool()


def evaluate_on_node(
    content: np.ndarray,
    record_id: str,
    limits: TrialLimits,
    number: int,
    policy: Policy,
    images: slice | None,
) -> Outcome:
    """Evaluate a policy in the warm child process of this process.

    Args:
        content: uint8 (bytes,), the pickled record; a view of the node's object store.
        record_id: of the record and its limits.
        limits: of each evaluation.
        number: of the trial.
        policy: to be measured.
        images: which of the recipe's images score it; None for all.
    """
    with _WARM.serving(record_id, PickledRecord(content), limits) as pool:
        pool.submit(number, policy, images)
        outcome = pool.next_finished()
    assert outcome is not None  # one was in flight, and no time was set
    return outcome
