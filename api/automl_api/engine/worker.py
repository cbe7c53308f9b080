"""A worker process: takes jobs from the queue until it is told to stop."""

import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager

from dbos import DBOS

from automl_api.engine import workflows
from automl_api.engine.execution import JobExecution
from automl_api.engine.health import disk_trouble
from automl_api.engine.lease import Lease
from automl_api.engine.pipeline import JobPipeline
from automl_api.engine.queue import JobQueue
from automl_api.engine.reaper import Reaper
from automl_api.engine.retention import Retention
from automl_api.engine.system import (
    GPU_QUEUE,
    QUEUE,
    configuration,
    migrate,
    quieten,
    worker_engine,
)
from automl_api.settings import Settings
from automl_api.threads import prefer_one_thread
from automl_compress import __version__
from automl_compress.core.errors import StorageFailed
from automl_compress.evaluate.cluster_joining import join
from automl_compress.store import ArtifactFiles, Database, leases

GRACE_SECONDS = 10  # for jobs to reach the end of their slice when the worker stops
LOOK_SECONDS = 0.2
logger = logging.getLogger(__name__)


def run_worker(
    settings: Settings,
    stop: threading.Event,
    pipeline: JobPipeline | None = None,
    gpu: str | None = None,
) -> None:
    """Serve jobs until `stop` is set; unfinished ones are queued for other workers.

    Args:
        settings: those of the API.
        stop: set by another thread or a signal handler.
        pipeline: what a job is; None for searches and evaluations.
        gpu: the name of the GPU that the pipeline computes on; found where `pipeline` is None.

    Raises:
        StorageFailed: the database cannot be reached at the start.
        WrongState: the database is of a newer version, or has become so.
        ClusterFailed: the cluster that should evaluate cannot be used.
    """
    prefer_one_thread()  # what a job needs of torch is imported below, by `_every_kind`
    if settings.ray_address is not None:
        join(settings.ray_address)  # before a job is taken that would only wait
    database = Database(settings.tables_url)
    try:
        database.upgrade()
        migrate(settings)
        while not stop.is_set():
            database.check()  # a newer version may have upgraded it since
            if pipeline is None:
                pipeline, gpu = _every_kind(settings)
            _serve(settings, database, stop, pipeline, gpu)
    finally:
        database.close()


def serve_worker(
    settings: Settings, pipeline: JobPipeline | None = None, gpu: str | None = None
) -> None:
    """Be a worker process: run until SIGTERM or SIGINT; never returns.

    A second signal ends it at once, as if it were killed.
    """
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, ask_to_stop)
    run_worker(settings, stop, pipeline, gpu)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the engine that still wait for a database would keep it alive


def _every_kind(settings: Settings) -> tuple[JobPipeline, str | None]:
    from automl_api.engine.kinds import PipelineOfKinds
    from automl_compress.networks import devices

    return PipelineOfKinds(settings), devices.gpu_name()


def _serve(
    settings: Settings,
    database: Database,
    stop: threading.Event,
    pipeline: JobPipeline,
    gpu: str | None,
) -> None:
    """Be one executor: its name ends when others declare it dead."""
    executor_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    files = ArtifactFiles(settings.data_dir)
    execution = JobExecution(database, files, pipeline, executor_id, settings.chunk_seconds)
    lost = threading.Event()
    with ExitStack() as stack:
        queue = JobQueue(database, settings)
        stack.callback(queue.close)
        lease = Lease(
            settings.tables_url,
            executor_id,
            settings.lease_seconds,
            lost.set,
            lambda: disk_trouble(settings.data_dir),
            gpu,
        )
        lease.start()
        stack.callback(lease.stop)
        _name_other_versions(database)
        retention = Retention(database, files, settings.artifact_days)
        reaper = Reaper(database, queue, lease, execution.is_working_on, tidy=retention.look)
        slots = {QUEUE: settings.jobs_per_worker}
        if gpu is not None:
            slots[GPU_QUEUE] = settings.gpu_jobs_per_worker
        with _launched(settings, execution, slots):
            reaper.start()
            stack.callback(reaper.stop)
            logger.info("worker %s serves", executor_id)
            while not stop.is_set() and not lost.is_set():
                stop.wait(LOOK_SECONDS)
            if lost.is_set():
                execution.close()  # what it works on belongs to others now
        _leave(database, queue, execution, lease)


def _name_other_versions(database: Database) -> None:
    with database.reading() as session:
        others = {row.version for row in leases.every(session)} - {__version__}
    if others:
        named = ", ".join(sorted(each or "unknown" for each in others))
        logger.warning("this worker is %s, others are %s; bring all to one", __version__, named)


@contextmanager
def _launched(
    settings: Settings, execution: JobExecution, slots: Mapping[str, int]
) -> Generator[None]:
    """Take jobs within the block, of each queue so many at once."""
    quieten()
    engine = worker_engine(settings)
    DBOS(config=configuration(settings, execution.executor_id, engine))
    workflows.register(execution)
    DBOS.listen_queues([*slots])
    DBOS.launch()
    try:
        for name, jobs_at_once in slots.items():
            DBOS.register_queue(
                name,
                worker_concurrency=jobs_at_once,
                polling_interval_sec=settings.poll_seconds,
                on_conflict="always_update",
            )
        yield
    finally:
        execution.stopping.set()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=GRACE_SECONDS)
        execution.close()
        if engine is not None:
            engine.dispose()


def _leave(database: Database, queue: JobQueue, execution: JobExecution, lease: Lease) -> None:
    """Queue what was not finished, and take down the sign of life."""
    try:
        for job_id in execution.handed_over:
            queue.submit(job_id)
        queue.move_from(execution.executor_id)
        lease.stop()  # a beat without its row would mean that others declared this one dead
        with database.session() as session:
            leases.remove(session, execution.executor_id)
    except StorageFailed as error:  # other workers will find out
        logger.warning("unfinished jobs were not handed over: %s", error)
