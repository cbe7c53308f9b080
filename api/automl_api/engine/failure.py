"""Why a job failed, as the problem document in its row."""

from typing import Any

from automl_api.problem import Problem, document, from_known
from automl_compress.core.errors import AutomlCompressError


class WorkersDied(AutomlCompressError):
    """A job that workers die of; it must not take one after the other with it."""

    def __init__(self, deaths: int) -> None:
        """Name how many died."""
        super().__init__(
            f"{deaths} workers died one after the other while they had this job, and it came no "
            "further; most likely their memory ran out. Read their logs, then submit it again on "
            "a larger machine, or with fewer images"
        )


def problem_of(error: Exception, job_id: str) -> dict[str, Any]:
    """Return the problem document (RFC 9457) of an error that ended a job."""
    if isinstance(error, AutomlCompressError):
        problem = from_known(error)
    else:
        detail = f"an unexpected {type(error).__name__}: {error}; the worker's log has the rest"
        problem = Problem(500, "internal", detail)
    content = document(problem, f"/v1/jobs/{job_id}", "")
    del content["request_id"]
    return content
