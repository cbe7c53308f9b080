"""One workflow for each attempt at a job: prepare, chunks, finalise."""

from collections.abc import Callable, Sequence

from dbos import DBOS

from automl_api.engine.execution import JobExecution, Outcome
from automl_api.engine.system import WORKFLOW
from automl_compress.core.errors import StorageFailed

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
        try:
            if _run(steps, job_id, attempt) == "hand over":
                execution.hand_over(job_id, attempt)
        except Exception as error:  # the steps' retries are used up
            execution.give_up(job_id, attempt, error)

    _ = run_job


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
        should_retry=lambda error: isinstance(error, StorageFailed),
    )
    def run_step(job_id: str, attempt: int) -> Outcome:
        return function(job_id, attempt)

    return run_step
