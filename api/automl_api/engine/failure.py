"""Why a job or a trial failed, as its user may read it; the worker's log has every word."""

from pathlib import Path
from typing import Any

from automl_api.places import content_without_folders, without_folders
from automl_api.problem import Problem, document, from_known
from automl_compress.core.errors import AutomlCompressError

MOST_CHARACTERS = 2000  # of a text that a library may have written pages of


class WorkersDied(AutomlCompressError):
    """A job that workers die of; it must not take one after the other with it."""

    def __init__(self, deaths: int) -> None:
        """Name how many died."""
        super().__init__(
            f"{deaths} workers died one after the other while they had this job, and it came no "
            "further; most likely their memory ran out. Read their logs, then submit it again on "
            "a larger machine, or with fewer images"
        )


def problem_of(error: Exception, job_id: str, data_dir: Path) -> dict[str, Any]:
    """Return the problem document (RFC 9457) of an error that ended a job.

    Args:
        error: the error.
        job_id: of the job.
        data_dir: of the worker, which is not the caller's business.
    """
    if isinstance(error, AutomlCompressError):
        problem = from_known(error)
    else:
        detail = f"an unexpected {type(error).__name__}: {error}; the worker's log has the rest"
        problem = Problem(500, "internal", detail)
    content = document(problem, f"/v1/jobs/{job_id}", "")
    del content["request_id"]
    told = content_without_folders(content, data_dir)
    return {**told, "detail": _shortened(told["detail"])}


def failure_text(failure: str, data_dir: Path) -> str:
    """Return why a trial failed, without folders of this machine, nor at any length.

    Args:
        failure: what the evaluation said of it.
        data_dir: of the worker, which is not the caller's business.
    """
    return _shortened(without_folders(failure, data_dir))


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} [...]"
