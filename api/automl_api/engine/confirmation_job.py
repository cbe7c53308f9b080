"""A confirmation: another trial of a search that has ended is cut, tuned and scored for good."""

from dataclasses import replace

from automl_api.engine.compression_job import Workload
from automl_api.engine.confirmation import Contest, confirm
from automl_api.engine.drivers import SearchlessDriver
from automl_api.engine.pipeline import Finished, OwnedJob
from automl_api.engine.preparation import prepared_pruning_net
from automl_api.settings import Settings
from automl_compress.core import Trial
from automl_compress.core.errors import NotFound
from automl_compress.store import browsing, jobs
from automl_compress.store.trials import to_trial


class ConfirmationPipeline:
    """Makes the drivers of confirmations."""

    def __init__(self, settings: Settings) -> None:
        """Use the settings of the worker."""
        self._settings = settings

    def prepare(self, job: OwnedJob) -> "ConfirmationDriver":
        """Load network and data, and the trial from its search.

        Raises:
            InvalidInput: network or data cannot be used any more.
            NotFound: the trial, or an uploaded file, is gone.
        """
        row = job.row()
        told = row.spec["confirmation"]
        with job.database.reading() as session:
            search = jobs.get(session, row.search_id or "")
            trial = browsing.trial(session, search.id, told["trial_number"])
        if trial is None:
            raise NotFound(f"job {search.id} has no trial {told['trial_number']} any more")
        if search.baseline is not None:
            job.set_baseline(search.baseline)
        workload = Workload.load(job, self._settings, search.id)
        parts = workload.network, workload.data, workload.space, workload.study.recipe
        trained = prepared_pruning_net(job, self._settings, *parts)
        return ConfirmationDriver(job, replace(workload, trained=trained), to_trial(trial))


class ConfirmationDriver(SearchlessDriver):
    """A confirmation that this process works on; another one goes on behind what is stored."""

    def __init__(self, job: OwnedJob, workload: Workload, trial: Trial) -> None:
        """Do nothing yet."""
        super().__init__(job)
        self._workload, self._trial = workload, trial

    def finalise(self) -> Finished:
        """Confirm the trial as its search confirms its best ones."""
        work = self._workload
        trials = [self._trial]
        parts = work.network, work.data, work.study, trials, work.trained, work.table
        contest = Contest(self._job, *parts)
        return confirm(contest, "completed", self._go_on)
