"""What a job is: the compression of one network under one budget."""

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from automl_agents.catalogue import check_serves, create_searcher
from automl_api.engine.confirmation import Contest, confirm
from automl_api.engine.drivers import ClosableDriver
from automl_api.engine.latency import job_table
from automl_api.engine.pipeline import Finished, OwnedJob
from automl_api.engine.preparation import prepared_pruning_net, trial_limits
from automl_api.settings import Settings
from automl_api.sources import DataSource, ModelSource
from automl_compress.core import CompressionSpace, Effort, Executor, StudySpec
from automl_compress.core.recipe import Backend
from automl_compress.costs import LatencyTable, compression_space
from automl_compress.data.datasets import ImageData, check_fits
from automl_compress.evaluate.cluster import ClusterPool, TrialNeeds
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.evaluate.limits import TrialLimits
from automl_compress.evaluate.pool import EvaluationPool
from automl_compress.evaluate.problem import search_problem
from automl_compress.evaluate.program import Program
from automl_compress.networks import devices
from automl_compress.networks.describe import logit_count
from automl_compress.networks.trace import Network, trace
from automl_compress.search import Study, StudyEvent
from automl_compress.store import JobState, SqlRecall
from automl_compress.train.pruning_net import TrainedPruningNet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workload:
    """A job's network and data, loaded, and what the search does with them."""

    network: Network
    data: ImageData
    space: CompressionSpace
    study: StudySpec
    trained: TrainedPruningNet | None = None
    table: LatencyTable | None = None
    program: Program | None = None

    @classmethod
    def load(cls, job: OwnedJob, settings: Settings, search_id: str | None = None) -> "Workload":
        """Load what a job's specification names.

        Args:
            job: the job.
            settings: of the worker.
            search_id: of the search whose latency table counts, where it is not the job's own.

        Raises:
            InvalidInput: network, data or study cannot be used, or not together.
            BudgetUnreachable: no policy of the space is within the budget.
            NotFound: an uploaded file is gone.
        """
        spec = job.row().spec
        study = StudySpec.from_json(spec["study"])
        source = ModelSource.from_json(spec["model"])
        module, input_shape = source.load_for_images(settings.data_dir)
        data = DataSource.from_json(spec["dataset"]).load(settings.data_dir)
        network = trace(module, input_shape)
        check_fits(data, input_shape, logit_count(module, input_shape))
        table = job_table(job, network, study, search_id)
        space = compression_space(network.graph, study.space, table)
        space.check_reachable(study.budgets[-1])
        problem = search_problem(network, data, space, study)
        check_serves(study.searcher, problem, study.searcher_options)
        return cls(network, data, space, study, table=table)

    def profile(self) -> tuple[dict[str, Any], "Workload"]:
        """Measure the uncut network on the images that score candidates.

        Returns:
            The baseline, and the workload with the program that was compiled for it.
        """
        split, train = self.data.split("search"), self.data.split("train")
        evaluator = PolicyEvaluator(self.network, split, train, self.study.recipe.unrepaired())
        score = evaluator.score_uncut()
        baseline = {
            "accuracy": score.correct / score.total,
            "correct": score.correct,
            "total": score.total,
            "cross_entropy": score.cross_entropy,
            "split": evaluator.split,
            "backend": evaluator.recipe.backend,
            "wall_seconds": evaluator.uncut_seconds,
            "cost": self.space.full.to_json(),
        }
        return baseline, replace(self, program=evaluator.program)

    def on_backend(self, backend: Backend) -> "Workload":
        """Return the workload whose recipe names what runs its candidates.

        A job that goes on scores the rest as it did the first of them. One that found a GPU
        without asking for it may go on where there is none.
        """
        if self.study.recipe.backend == "auto" and backend == "cuda" and devices.gpu() is None:
            backend = "torch"
        recipe = replace(self.study.recipe, backend=backend)
        return replace(self, study=replace(self.study, recipe=recipe))

    def executor(self, evaluations: int, limits: TrialLimits, settings: Settings) -> Executor:
        """Start what scores candidates: child processes, or the cluster that the settings name.

        Raises:
            ClusterFailed: the cluster cannot be used.
        """
        search, train = self.data.split("search"), self.data.split("train")
        net = None if self.trained is None else self.trained.net
        parts = self.network, search, train, self.study.recipe, net, self.table
        record = EvaluatorRecord.of(*parts, self.program)
        if settings.ray_address is None:
            return EvaluationPool(record, evaluations, limits)
        # Ray hides all GPUs from a task that asks for none.
        least_gpus = 1.0 if self.study.recipe.backend == "cuda" else 0.0
        needs = TrialNeeds(settings.trial_cpus, settings.trial_gpus or least_gpus)
        return ClusterPool(record, settings.ray_address, evaluations, limits, needs)


class CompressionPipeline:
    """Makes the drivers of compression jobs."""

    def __init__(self, settings: Settings) -> None:
        """Use the settings of the worker."""
        self._settings = settings

    def prepare(self, job: OwnedJob) -> "CompressionDriver":
        """Load network and data, profile them once, and start what evaluates."""
        row = job.row()
        workload = Workload.load(job, self._settings)
        baseline = row.baseline
        if baseline is None:
            job.enter(JobState.PROFILING)
            baseline, workload = workload.profile()
            job.set_baseline(baseline)
        workload = workload.on_backend(baseline.get("backend", "torch"))
        study = workload.study
        parts = workload.network, workload.data, workload.space, study.recipe
        trained = prepared_pruning_net(job, self._settings, *parts)
        workload = replace(workload, trained=trained)
        limit = self._settings.evaluation_processes or study.parallelism
        limits = trial_limits(study, job.row().baseline, self._settings)
        executor = workload.executor(min(study.parallelism, limit), limits, self._settings)
        try:
            return CompressionDriver(job, workload, executor)
        except BaseException:
            executor.close()
            raise


class CompressionDriver(ClosableDriver):
    """A compression job that this process works on."""

    def __init__(self, job: OwnedJob, workload: Workload, executor: Executor) -> None:
        """Restore searcher and study from the tables."""
        study, space, row = workload.study, workload.space, job.row()
        problem = search_problem(workload.network, workload.data, space, study)
        super().__init__(job)
        self._workload, self._executor = workload, executor
        self._latest: StudyEvent | None = None
        self._study = Study(
            create_searcher(study.searcher, problem, study.searcher_options),
            executor,
            job.trials(),
            space,
            study.budget,
            study.effort,
            publish=self._take_note,
            parallelism=study.parallelism,
            accuracy_floor=study.accuracy_floor,
            elapsed_before_seconds=row.elapsed_seconds,
            recall=SqlRecall(
                job.database,
                job.job_id,
                row.data_id,
                row.spec["model"].get("fingerprint"),
                study.recipe,
                problem.images,
                problem.evaluations,
            ),
        )

    @property
    def eta_seconds(self) -> float | None:
        """Expected time to the study's end."""
        return None if self._latest is None else self._latest.eta_seconds

    def advance(self, seconds: float) -> bool:
        """Go on with the study.

        Raises:
            ModelInvalid: not one policy could be evaluated.
            FloorMissed: no policy reaches the accuracy floor.
        """
        # Its user may have changed it since.
        self._study.change_effort(Effort(**self._job.row().spec["study"]["effort"]))
        has_ended = self._study.advance(time.monotonic() + seconds)
        if self._study.summary is not None:
            self._study.summary.require_best()
        return has_ended

    def finalise(self) -> Finished:
        """Confirm the best trials."""
        while not self.advance(1.0):  # at once, unless this process only now took the job
            self._go_on()
        summary = self._study.summary
        assert summary is not None
        self._executor.close()
        workload = self._workload
        trials = self._job.trials().trials()
        contest = Contest(
            self._job,
            workload.network,
            workload.data,
            workload.study,
            trials,
            workload.trained,
            workload.table,
        )
        return confirm(contest, summary.stop_reason, self._go_on)

    def close(self) -> None:
        """End what evaluates, and what `finalise` does."""
        super().close()
        self._executor.close()

    def _take_note(self, event: StudyEvent) -> None:
        self._latest = event
        if event.failure is not None:
            said = {"trial": event.number}
            logger.warning("trial %d failed: %s", event.number, event.failure, extra=said)
        else:
            score = event.score
            logger.info("trial %d: %s", event.number, score, extra={"trial": event.number})
