"""What the drivers of all kinds of jobs have in common."""

import threading

from automl_api.engine.pipeline import OwnedJob
from automl_compress.core.errors import WrongState


class ClosableDriver:
    """A driver whose `finalise` ends when another thread closes it."""

    def __init__(self, job: OwnedJob) -> None:
        """Work on a job."""
        self._job = job
        self._closed = threading.Event()

    def close(self) -> None:
        """End what `finalise` does."""
        self._closed.set()

    def _go_on(self) -> None:
        if self._closed.is_set():
            raise WrongState(f"job {self._job.job_id} was closed while it was finalised")


class SearchlessDriver(ClosableDriver):
    """A driver of a job that has nothing but its end."""

    @property
    def eta_seconds(self) -> float | None:
        """Not known."""
        return None

    def advance(self, seconds: float) -> bool:
        """There is nothing to search."""
        return True
