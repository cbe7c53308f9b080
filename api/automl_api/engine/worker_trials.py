"""The trials of a job, as the worker that runs it stores them."""

from dataclasses import replace
from pathlib import Path

from automl_api.engine.failure import failure_text
from automl_compress.core import Snapshot, Trial
from automl_compress.store import Database, SqlTrialStore


class WorkerTrialStore(SqlTrialStore):
    """A trial store that tells of a failure what its user may read.

    Evaluations pass on what libraries say, and these name files by where they lie.
    """

    def __init__(self, database: Database, job_id: str, owner: str, data_dir: Path) -> None:
        """Write the trials of `job_id`, as long as `owner` owns it.

        Args:
            database: of the service.
            job_id: whose trials.
            owner: the execution that writes them.
            data_dir: of this worker, which no failure names.
        """
        super().__init__(database, job_id, owner)
        self._data_dir = data_dir

    def told(self, trial: Trial, snapshot: Snapshot | None = None) -> None:
        """Store a tell as `SqlTrialStore` does, and raise as that does."""
        if trial.failure is not None:
            trial = replace(trial, failure=failure_text(trial.failure, self._data_dir))
        super().told(trial, snapshot)
