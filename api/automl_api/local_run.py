"""A search without a server: the worker's own pipeline, on tables in the output folder."""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from automl_agents import catalogue
from automl_api.engine.compression_job import CompressionPipeline
from automl_api.engine.execution import store_finished
from automl_api.engine.pipeline import JobDriver, OwnedJob
from automl_api.engine.preparation import FOLDER
from automl_api.settings import Settings
from automl_api.sources import DataSource, ModelSource
from automl_api.transport import Event
from automl_compress.core import StudySpec
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import StorageFailed
from automl_compress.store import (
    ArtifactFiles,
    Database,
    JobState,
    artifacts,
    datasets,
    jobs,
    models,
)
from automl_compress.store import events as event_rows
from automl_compress.store.jobs import NewJob
from automl_compress.store.paging import LARGEST_PAGE

OWNER = "local"
SLICE_SECONDS = 0.5


@dataclass(frozen=True)
class RunRequest:
    """What to search for, and where the results go."""

    name: str
    model: ModelSource
    data: DataSource
    study: StudySpec
    output: Path


@dataclass(frozen=True)
class RunResult:
    """The best policy, the files that were written, and what the job's row would say."""

    document: PolicyDocument
    paths: tuple[Path, ...]
    result: Mapping[str, Any]


def run_locally(request: RunRequest, show: Callable[[Event], None]) -> RunResult:
    """Search and confirm on this machine.

    Args:
        request: what to do.
        show: called with every event as it happens.

    Raises:
        InvalidInput: network, data or study cannot be used, or not together.
        BudgetUnreachable: no policy of the space is within the budget.
        StorageFailed: the output folder cannot be written.
    """
    torch.set_num_threads(1)
    # Found out before anything is loaded.
    catalogue.check_options(request.study.searcher, request.study.searcher_options)
    workshop = request.output / ".automl-compress"
    made = [each for each in (request.output, *request.output.parents) if not each.exists()]
    try:
        workshop.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"{request.output} cannot be written ({error.strerror}); choose another --output"
        ) from error
    try:
        return _run(request, workshop, show)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
        with suppress(OSError):  # once one is not empty
            for folder in made:
                folder.rmdir()


def _run(request: RunRequest, workshop: Path, show: Callable[[Event], None]) -> RunResult:
    settings = Settings(
        data_dir=workshop, database_url=None, pruning_nets_dir=request.output / FOLDER
    )
    database = Database(settings.tables_url)
    try:
        database.upgrade()
        job = _create(database, ArtifactFiles(workshop), request)
        _work(job, settings, show)
        return _collect(job, request.output)
    finally:
        database.close()


def _create(database: Database, files: ArtifactFiles, request: RunRequest) -> OwnedJob:
    _, input_shape = request.model.load_for_images(Path())
    model = {**request.model.to_json(), "name": request.name, "input_shape": list(input_shape)}
    data = request.data.to_json()
    with database.session() as session:
        model_row = models.add(
            session, name=request.name, source=model, weights_file_id=None, details={}
        )
        data_row = datasets.add(session, name=request.name, source=data, file_id=None, details={})
        new = NewJob(
            name=request.name,
            model_id=model_row.id,
            dataset_id=data_row.id,
            spec={"model": model, "dataset": data, "study": request.study.to_json()},
            tags={},
        )
        row = jobs.create(session, new)
        jobs.claim(session, row.id, row.attempt, OWNER)
    return OwnedJob(row.id, OWNER, database, files)


def _work(job: OwnedJob, settings: Settings, show: Callable[[Event], None]) -> None:
    events = _Events(job, show)
    events.show_new()
    job.enter(JobState.VALIDATING)
    events.show_new()
    driver = CompressionPipeline(settings).prepare(replace(job, on_event=events.show_new))
    try:
        job.enter(JobState.RUNNING)
        has_ended = False
        while not has_ended:
            has_ended = _advance(job, driver)
            events.show_new()
        job.enter(JobState.FINALIZING)
        events.show_new()
        store_finished(job, driver.finalise())
        events.show_new()
    finally:
        driver.close()


def _advance(job: OwnedJob, driver: JobDriver) -> bool:
    began = time.monotonic()
    has_ended = driver.advance(SLICE_SECONDS)
    job.beat(time.monotonic() - began, driver.eta_seconds)
    return has_ended


class _Events:
    """Shows a job's events, each once."""

    def __init__(self, job: OwnedJob, show: Callable[[Event], None]) -> None:
        self._job, self._show, self._seen = job, show, 0

    def show_new(self) -> None:
        has_more = True
        while has_more:
            with self._job.database.reading() as session:
                page = event_rows.page(
                    session, self._job.job_id, after=self._seen, limit=LARGEST_PAGE
                )
            for row in page.rows:
                self._show(Event(row.seq, row.kind, row.data, row.created_at.isoformat()))
                self._seen = row.seq
            has_more = page.has_more


def _collect(job: OwnedJob, output: Path) -> RunResult:
    with job.database.reading() as session:
        made = artifacts.of_job(session, job.job_id)
        rows = [row for row in made if row.removed_at is None]  # not the outdated checkpoints
    paths: list[Path] = []
    for row in rows:
        target = output / row.name
        try:
            shutil.copyfile(job.files.path_of(row.path), target)
        except OSError as error:
            raise StorageFailed(f"{target} cannot be written ({error.strerror})") from error
        paths.append(target)
    document = PolicyDocument.load(output / "policy.json")
    return RunResult(document, tuple(paths), job.row().result or {})
