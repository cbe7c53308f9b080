"""A toy job: the real study loop and tables, an evaluation that only sleeps and writes a line.

With `processes` it evaluates in the real pool of child processes. `serve` is a worker process for
toy jobs.
"""

import json
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

from automl_agents.random_search import RandomSearcher
from automl_api.engine import Finished, FoundPolicy, OwnedJob, serve_worker
from automl_api.settings import Settings
from automl_compress.core import (
    Budget,
    Effort,
    Executor,
    Outcome,
    Policy,
    SearchProblem,
)
from automl_compress.core.errors import DataInvalid, ModelInvalid
from automl_compress.evaluate.limits import TrialLimits
from automl_compress.evaluate.pool import EvaluationPool
from automl_compress.search import Study
from automl_compress.store import JobState
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.ids import new_id
from tests.api.engine.toy_record import ToyRecord
from tests.fakes import FormulaEvaluator, residual_graph, space_of

BUDGET = Budget("macs", 0.5)


def toy_spec(log: Path, **changes: object) -> dict[str, Any]:
    """What a toy job does: evaluations that take so long each, each written into the log."""
    usual = {"evaluations": 30, "seconds": 0.03, "finalise": 0.0, "broken": False}
    more = {"processes": 0, "limits": {}, "ill": {}, "backend": "torch"}
    told = {**usual, **more, "log": str(log), **changes}
    study = {
        "budget": {"metric": BUDGET.metric, "ratio": BUDGET.ratio},
        "effort": {"evaluations": told["evaluations"]},
        "recipe": {"backend": told["backend"]},
    }
    return {**told, "study": study}


class ToyExecutor:
    """Evaluates one policy at a time in a thread."""

    capacity = 1

    def __init__(self, evaluator: FormulaEvaluator, seconds: float, log: Path) -> None:
        self._evaluator, self._seconds, self._log = evaluator, seconds, log
        self._outcomes: queue.Queue[Outcome] = queue.Queue()

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        thread = threading.Thread(target=self._evaluate, args=(number, policy, images), daemon=True)
        thread.start()

    def _evaluate(self, number: int, policy: Policy, images: slice | None) -> None:
        write_line(self._log, f"begin {number}")
        time.sleep(self._seconds)
        outcome = Outcome(number, self._evaluator.evaluate(policy, images))
        write_line(self._log, f"end {number}")
        self._outcomes.put(outcome)

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        try:
            return self._outcomes.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        pass


class ToyPool(EvaluationPool):
    """The real pool; each begin and end is written into the log."""

    def __init__(self, spec: dict[str, Any], log: Path) -> None:
        self._ill, self._log = spec["ill"], log
        self._toy = ToyRecord(spec["seconds"], log.parent)
        super().__init__(self._toy, spec["processes"], TrialLimits(**spec["limits"]))

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        write_line(self._log, f"begin {number}")
        if str(number) in self._ill:
            self._toy.illness(policy).write_text(self._ill[str(number)])
        super().submit(number, policy, images)

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        outcome = super().next_finished(timeout_seconds)
        if outcome is not None:
            write_line(self._log, f"end {outcome.number}")
        return outcome


def toy_executor(spec: dict[str, Any], log: Path) -> Executor:
    if spec["processes"]:
        return ToyPool(spec, log)
    return ToyExecutor(FormulaEvaluator(space_of(residual_graph())), spec["seconds"], log)


class ToyDriver:
    def __init__(self, job: OwnedJob) -> None:
        self._job, self._spec = job, job.row().spec
        log, effort = Path(self._spec["log"]), Effort(self._spec["evaluations"])
        space = space_of(residual_graph())
        searcher = RandomSearcher(SearchProblem(space, BUDGET, effort, seed=0))
        self._executor = toy_executor(self._spec, log)
        places = self._executor.capacity
        self._study = Study(
            searcher, self._executor, job.trials(), space, BUDGET, effort, parallelism=places
        )
        self._closed = threading.Event()
        self.eta_seconds = None

    def advance(self, seconds: float) -> bool:
        has_ended = self._study.advance(time.monotonic() + seconds)
        summary = self._study.summary
        if summary is not None and summary.best is None:
            raise ModelInvalid(f"no policy could be evaluated: {summary.message}")
        return has_ended

    def finalise(self) -> Finished:
        if self._closed.wait(self._spec["finalise"]):
            raise RuntimeError("closed while it was finalised")
        best = max(self._job.trials().trials(), key=_score)
        document = {"id": new_id("pol"), "choices": best.policy.to_json()}
        new = NewArtifact(self._job.job_id, "policy.json", "policy", "application/json")
        path = f"artifacts/{self._job.job_id}/policy.json"
        written = self._job.files.write(path, [json.dumps(document).encode()])
        return Finished(
            {"policy_id": document["id"], "policies": [{"policy_id": document["id"]}]},
            "completed",
            [FoundPolicy(document["id"], best.number, document)],
            [(new, written)],
        )

    def close(self) -> None:
        self._closed.set()
        self._executor.close()


class ToyPipeline:
    def prepare(self, job: OwnedJob) -> ToyDriver:
        row = job.row()
        if row.spec["broken"]:
            raise DataInvalid("the data are empty; give at least one image")
        if row.baseline is None:
            job.enter(JobState.PROFILING)
            job.set_baseline({"accuracy": 0.9})
        return ToyDriver(job)


def write_line(log: Path, text: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{os.getpid()} {text}\n".encode())
    os.close(handle)


def _score(trial: Any) -> float:
    return -1.0 if trial.measurement is None else trial.measurement.score


def serve(gpu: str | None = None) -> None:
    serve_worker(Settings(), ToyPipeline(), gpu)
