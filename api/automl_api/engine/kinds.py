"""What a worker does with each kind of job."""

from automl_api.engine.compression_job import CompressionPipeline
from automl_api.engine.confirmation_job import ConfirmationPipeline
from automl_api.engine.evaluation_job import EvaluationPipeline
from automl_api.engine.export_job import ExportPipeline
from automl_api.engine.pipeline import JobDriver, JobPipeline, OwnedJob
from automl_api.settings import Settings
from automl_compress.store import JobKind


class PipelineOfKinds:
    """Makes the driver that a job's kind needs."""

    def __init__(self, settings: Settings) -> None:
        """Use the settings of the worker."""
        self._pipelines: dict[JobKind, JobPipeline] = {
            JobKind.SEARCH: CompressionPipeline(settings),
            JobKind.EVALUATION: EvaluationPipeline(settings),
            JobKind.CONFIRMATION: ConfirmationPipeline(settings),
            JobKind.EXPORT: ExportPipeline(settings),
        }

    def prepare(self, job: OwnedJob) -> JobDriver:
        """Build a job's driver from the tables."""
        return self._pipelines[job.row().kind].prepare(job)
