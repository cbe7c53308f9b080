"""`/metrics` for Prometheus: what the tables say, and what this process answered."""

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from automl_api.service import Service, ServiceDependency
from automl_api.system.meter import Meter
from automl_compress import __version__
from automl_compress.core.errors import StorageFailed
from automl_compress.store import JobState, activity, leases

PREFIX = "automl_compress"
router = APIRouter(tags=["system"])


@router.get("/metrics", response_class=Response)
def get_metrics(request: Request, service: ServiceDependency) -> Response:
    """Write the metrics in Prometheus's text format; jobs and trials are the caller's."""
    registry = CollectorRegistry()
    registry.register(_Tables(service))
    meter: Meter = request.app.state.meter
    content = generate_latest(registry) + generate_latest(meter.registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


class _Tables(Collector):
    """Gauges of what stands in the tables when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; without a database only that it is away."""
        build = _gauge("build_info", "The version of this process.", "version")
        build.add_metric([__version__], 1)
        yield build
        try:
            with self._service.database.reading() as session:
                found = [*self._jobs(session), self._workers(session)]
        except StorageFailed:
            found = []
        up = _gauge("database_up", "Whether the database answers.")
        up.add_metric([], 1 if found else 0)
        yield up
        yield from found

    def _jobs(self, session: Session) -> list[Metric]:
        counts = activity.jobs_in_states(session)
        jobs = _gauge("jobs", "Jobs by their state.", "state")
        for state in JobState:
            jobs.add_metric([state.value], counts.get(state, 0))
        done = activity.work_done(session)
        trials = _gauge("trials", "Stored trials of all jobs.")
        trials.add_metric([], done.trials)
        evaluations = _gauge("evaluations", "Effort of all jobs, in full proxy evaluations.")
        evaluations.add_metric([], done.evaluations)
        waited = _gauge("oldest_queued_seconds", "For how long the oldest queued job has waited.")
        now = leases.database_now(session)
        oldest = done.oldest_queued_at
        waited.add_metric([], 0 if oldest is None else max((now - oldest).total_seconds(), 0))
        return [jobs, trials, evaluations, waited]

    def _workers(self, session: Session) -> Metric:
        at, lease_seconds = leases.database_now(session), self._service.settings.lease_seconds
        counts = {"alive": 0, "silent": 0, "troubled": 0}
        for row in leases.every(session):
            if row.reaped_by or leases.silent_seconds(row, at) > lease_seconds:
                counts["silent"] += 1
            else:
                counts["troubled" if row.trouble else "alive"] += 1
        workers = _gauge("workers", "Workers by their state.", "state")
        for state, count in counts.items():
            workers.add_metric([state], count)
        return workers


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
