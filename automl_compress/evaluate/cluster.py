"""Evaluations on a Ray cluster; an `Executor`.

An evaluation is one task with the resources that it needs, so that several jobs share a cluster,
and Ray runs once more what a lost node was working on. Within a task the local pool does the work,
with one child process that stays warm for the next task: what is too long, too large or dies is
judged by the same code on one machine and on many.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from automl_compress.core import Outcome, Policy
from automl_compress.core.errors import ClusterFailed, WrongState
from automl_compress.evaluate.cluster_joining import first_line, join
from automl_compress.evaluate.cluster_task import evaluate_on_node
from automl_compress.evaluate.limits import TrialLimits
from automl_compress.evaluate.pool import TRIES, EvaluatorRecord, pickled


@dataclass(frozen=True, slots=True)
class TrialNeeds:
    """What one evaluation takes of a node while it runs: cores, and GPUs (parts of one too)."""

    cpus: float = 1.0
    gpus: float = 0.0


class ClusterPool:
    """Evaluates policies on the nodes of a Ray cluster."""

    def __init__(
        self,
        record: EvaluatorRecord,
        address: str,
        evaluations: int = 1,
        limits: TrialLimits | None = None,
        needs: TrialNeeds | None = None,
    ) -> None:
        """Join the cluster, and put the record into its object store.

        Args:
            record: what each node builds its evaluator from; it travels once to each node.
            address: of the cluster, `HOST:PORT`; this machine is a node of it.
            evaluations: how many may be in flight at once.
            limits: an evaluation that takes more is killed and has failed; None for no limits.
            needs: what each takes of a node; None for one core. A limit of memory is a need too.

        Raises:
            ModelInvalid: the network cannot be sent to another process.
            ClusterFailed: the cluster cannot be used, or no node has what an evaluation needs.
        """
        content = np.frombuffer(pickled(record), np.uint8)  # nodes map an array, and copy nothing
        self.capacity = evaluations
        self._limits = limits or TrialLimits()
        self._ray = join(address)
        needs = needs or TrialNeeds()
        _check_room(self._ray.nodes(), needs, self._limits.memory_bytes or 0)
        self._task = self._ray.remote(evaluate_on_node).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=self._limits.memory_bytes,
            max_retries=TRIES - 1,
        )
        self._record, self._record_id = self._ray.put(content), uuid.uuid4().hex
        self._in_flight: dict[Any, int] = {}

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        """Queue an evaluation on the cluster.

        Raises:
            WrongState: `capacity` evaluations are in flight.
        """
        if len(self._in_flight) >= self.capacity:
            raise WrongState(f"{self.capacity} evaluations are in flight; wait for one to finish")
        about = self._record, self._record_id, self._limits
        self._in_flight[self._task.remote(*about, number, policy, images)] = number

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        """Wait for the next outcome; None when the time ran out before one came.

        Raises:
            ClusterFailed: the cluster is gone.
        """
        if not self._in_flight:
            return None
        try:
            ready, _ = self._ray.wait(list(self._in_flight), timeout=timeout_seconds)
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise ClusterFailed(f"the Ray cluster is gone: {first_line(error)}") from error
        number = self._in_flight.pop(ready[0], None) if ready else None
        if number is None:  # nothing came, or another thread closed the pool
            return None
        try:
            return self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:  # a task that raised, or died too often
            failure = f"the evaluation died on the cluster: {first_line(error)}"
            return Outcome(number, failure=failure)

    def close(self) -> None:
        """End what is in flight; a node's child process ends when it stays idle."""
        while self._in_flight:
            reference, _ = self._in_flight.popitem()
            self._ray.cancel(reference, force=True)
        self._record = None

    def __enter__(self) -> "ClusterPool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _check_room(nodes: list[dict[str, Any]], needs: TrialNeeds, memory_bytes: int) -> None:
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": memory_bytes}
    alive = [each["Resources"] for each in nodes if each["Alive"]]
    if not any(all(has.get(key, 0) >= count for key, count in wanted.items()) for has in alive):
        raise ClusterFailed(
            f"no node of the Ray cluster has what an evaluation needs: {needs.cpus:g} CPUs, "
            f"{needs.gpus:g} GPUs, {memory_bytes:,} bytes of memory; add such a node, or lower "
            "the needs"
        )
