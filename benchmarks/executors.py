"""One process, a local pool of four and a Ray cluster of two nodes with two cores each, on one job.

A searcher that learns asks for other policies when it is told in another order. So outcomes are
handed to it by number here, whoever is done first: all three executors of four places must then
come to the same policies and scores. Seconds are those of a warm executor. Trials that sleep take
no core, so they show the scheduling; real ones share the cores that this machine has.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from automl_agents.catalogue import create_searcher
from automl_compress.core import (
    Budget,
    CompressionSpace,
    Effort,
    Executor,
    Outcome,
    Policy,
    Recipe,
    SearchProblem,
    StudySpec,
)
from automl_compress.core.canonical import digest
from automl_compress.costs import compression_space
from automl_compress.data.loading import load_data
from automl_compress.evaluate.cluster import ClusterPool
from automl_compress.evaluate.evaluator import EvaluatorRecord
from automl_compress.evaluate.pool import EvaluationPool
from automl_compress.evaluate.problem import search_problem
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import trace
from automl_compress.search import MemoryTrialStore, Study
from benchmarks import records
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS
from tests.api.engine.toy_record import ToyRecord
from tests.fakes import problem_of
from tests.ray_cluster import ray_cluster

NAME, SEARCHER, SEED = "executors", "tpe", 0
PLACES, WARM_UP = 4, 12
BUDGET = Budget("macs", 0.5)
Problem = Callable[[int], SearchProblem]  # by evaluations
Record = ToyRecord | EvaluatorRecord


class ByNumber:
    """An executor that hands outcomes back in the order of the asks."""

    def __init__(self, inner: Executor) -> None:
        self.capacity, self._inner = inner.capacity, inner
        self._asked: list[int] = []
        self._done: dict[int, Outcome] = {}

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        self._inner.submit(number, policy, images)
        self._asked.append(number)

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        while self._asked and self._asked[0] not in self._done:
            outcome = self._inner.next_finished(timeout_seconds)
            if outcome is None:
                return None
            self._done[outcome.number] = outcome
        return self._done.pop(self._asked.pop(0)) if self._asked else None

    def close(self) -> None:
        self._inner.close()


def sleeping(folder: Path) -> tuple[Record, Problem]:
    """Trials that sleep a second and score by a formula."""

    def problem(evaluations: int) -> SearchProblem:
        return problem_of(evaluations=evaluations, seed=SEED)

    return ToyRecord(1.0, folder), problem


def real() -> tuple[Record, Problem]:
    """Trials of ResNet-20 on digits, as the demonstration's."""
    data = load_data("digits")
    module = build_network("resnet-20", DIGITS_CONFIG)
    load_weights(module, DIGITS_WEIGHTS)
    network = trace(module, data.input_shape)
    recipe = Recipe(repair="reconstruction")
    study = StudySpec(SEARCHER, BUDGET, Effort(1), seed=SEED, recipe=recipe)
    space = compression_space(network.graph, study.space)

    def problem(evaluations: int) -> SearchProblem:
        spec = StudySpec(SEARCHER, BUDGET, Effort(evaluations), seed=SEED, recipe=recipe)
        return search_problem(network, data, space, spec)

    record = EvaluatorRecord.of(network, data.split("search"), data.split("train"), recipe)
    return record, problem


def searched(executor: Executor, problem: SearchProblem) -> dict[str, Any]:
    """Run a study; return what was found and how long it took."""
    store, space = MemoryTrialStore(), problem.space
    assert isinstance(space, CompressionSpace)
    searcher = create_searcher(SEARCHER, problem, {})
    began = time.monotonic()
    Study(
        searcher,
        ByNumber(executor),
        store,
        space,
        BUDGET,
        problem.effort,
        parallelism=executor.capacity,
    ).run()
    seconds = time.monotonic() - began
    trials = store.trials()
    found = [
        [each.policy.to_json(), each.measurement.score if each.measurement else each.failure]
        for each in trials
    ]
    return {"seconds": round(seconds, 3), "trials": len(trials), "found": digest(found)}


@contextmanager
def executors() -> Iterator[dict[str, Callable[[Record], Executor]]]:
    """Start the cluster; return how each executor is opened."""
    with ray_cluster({"num_cpus": 2}, {"num_cpus": 2}) as cluster:
        yield {
            "one_process": lambda record: EvaluationPool(record, 1),
            "pool": lambda record: EvaluationPool(record, PLACES),
            "ray": lambda record: ClusterPool(record, cluster.address, PLACES),
        }


def measured(
    opened: Callable[[Record], Executor], record: Record, problem: Problem, evaluations: int
) -> dict[str, Any]:
    """Warm an executor up, then run the study on it."""
    executor = opened(record)
    try:
        searched(executor, problem(WARM_UP))
        return searched(executor, problem(evaluations)) | {"load": os.getloadavg()[0]}
    finally:
        executor.close()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=60, help="of each study")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    told = parser.parse_args()
    torch.set_num_threads(1)
    details: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, executors() as opened:
        for kind, (record, problem) in {"sleep": sleeping(Path(folder)), "real": real()}.items():
            for name, opens in opened.items():
                details[f"{kind}.{name}"] = measured(opens, record, problem, told.evaluations)
                print(f"{kind}.{name}: {details[f'{kind}.{name}']}", flush=True)
    summary = summary_of(details)
    for key, value in summary.items():
        print(f"{key:32s} {value}")
    if told.keep:
        records.save(NAME, summary, details, [SEED])


def summary_of(details: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return how many times faster than one process, and whether the same was found."""
    summary: dict[str, Any] = {}
    for kind in ("sleep", "real"):
        one, pool, ray = (details[f"{kind}.{name}"] for name in ("one_process", "pool", "ray"))
        summary[f"{kind}.same_policies"] = pool["found"] == ray["found"]
        summary[f"{kind}.pool_speedup"] = round(one["seconds"] / pool["seconds"], 2)
        summary[f"{kind}.ray_speedup"] = round(one["seconds"] / ray["seconds"], 2)
        summary[f"{kind}.evaluations"] = pool["trials"]
    summary["load"] = max(each["load"] for each in details.values())
    return summary


if __name__ == "__main__":
    main()
