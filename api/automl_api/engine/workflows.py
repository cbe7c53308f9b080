"""One workflow for each attempt at a job: prepare, chunks, finalise."""

from collections.abc import Callable, Sequence

from dbos import DBOS
from dbos import error as dbos_errors
from sqlalchemy.exc import SQLAlchemyError

from automl_api.engine.execution import JobExecution, Outcome
from automl_api.engine.queue import workflow_id
from automl_api.engine.system import WORKFLOW
from automl_compress.core.errors import ClusterFailed, StorageFailed

# Finished chunks are replayed when a worker dies, at 1 ms (SQLite) to 8 ms (PostgreSQL) each.
CHUNKS_OF_AN_ATTEMPT = 2000
# Pauses between attempts at a step grow from 0.5 s: two minutes without a database. Confirming
# the best trials takes minutes, so it is tried less often.
ATTEMPTS_OF_A_STEP, ATTEMPTS_TO_FINALISE = 12, 6

Step = Callable[[str, int], Outcome]


def register(execution: JobExecution) -> None:
    """Make DBOS run the workflow with this process's drivers; before its launch."""
    steps = (
        _step("prepare", execution.prepare, ATTEMPTS_OF_A_STEP),
        _step("advance", execution.advance, ATTEMPTS_OF_A_STEP),
        _step("finalise", execution.finalise, ATTEMPTS_TO_FINALISE),
    )

    @DBOS.workflow(name=WORKFLOW)
    def run_job(job_id: str, attempt: int) -> None:
        with execution.working_on(workflow_id(job_id, attempt)):
            outcome = _run_or_give_up(execution, steps, job_id, attempt)
            if outcome == "hand over":
                execution.hand_over(job_id, attempt)

    _ = run_job


def _run_or_give_up(
    execution: JobExecution, steps: Sequence[Step], job_id: str, attempt: int
) -> Outcome:
    try:
        return _run(steps, job_id, attempt)
    except SQLAlchemyError:
        raise  # the queue's own tables took nothing; the reaper queues the job again
    except Exception as error:  # the steps' retries are used up
        execution.give_up(job_id, attempt, _reason(error))
        return "leave"


def _reason(error: Exception) -> Exception:
    """Return why a step was given up, without what DBOS wraps around it.

    Once stored, the queue knows no more of it than its text.
    """
    if isinstance(error, dbos_errors.DBOSMaxStepRetriesExceeded) and error.errors:
        return error.errors[-1]
    if getattr(error, "name", "") == "DBOSMaxStepRetriesExceeded":
        return StorageFailed(
            f"storage or cluster failed for minutes ({error}); the worker's log says which"
        )
    return error


def _run(steps: Sequence[Step], job_id: str, attempt: int) -> Outcome:
    outcome: Outcome = "ended"
    for step in steps:
        outcome = _repeat(step, job_id, attempt)
        if outcome != "ended":
            break
    return outcome


def _repeat(step: Step, job_id: str, attempt: int) -> Outcome:
    for _ in range(CHUNKS_OF_AN_ATTEMPT):
        outcome = step(job_id, attempt)
        if outcome != "go on":
            return outcome
    return "hand over"


def _step(name: str, function: Step, attempts: int) -> Step:
    @DBOS.step(
        name=name,
        retries_allowed=True,
        max_attempts=attempts,
        interval_seconds=0.5,
        backoff_rate=1.5,
        should_retry=lambda error: isinstance(error, (StorageFailed, ClusterFailed)),
    )
    def run_step(job_id: str, attempt: int) -> Outcome:
        return function(job_id, attempt)

    return run_step
