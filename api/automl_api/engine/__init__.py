"""The job engine: a durable queue, and the workers that serve it.

Our tables say what a job is and what it has done; DBOS says who works on it. What it lacks in
its open-source part, noticing that a worker died, is `lease` and `reaper`.
"""

from automl_api.engine.pipeline import Finished, FoundPolicy, JobDriver, JobPipeline, OwnedJob
from automl_api.engine.queue import JobQueue
from automl_api.engine.system import migrate
from automl_api.engine.worker import run_worker, serve_worker

__all__ = [
    "Finished",
    "FoundPolicy",
    "JobDriver",
    "JobPipeline",
    "JobQueue",
    "OwnedJob",
    "migrate",
    "run_worker",
    "serve_worker",
]
