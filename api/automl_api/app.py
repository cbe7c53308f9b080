"""The HTTP application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.staticfiles import StaticFiles

from automl_api import answers
from automl_api.artifacts import endpoints as artifacts
from automl_api.connections import Crowd
from automl_api.dashboard import STATIC_FOLDER, keys_page, points, report, signing_in
from automl_api.dashboard import endpoints as dashboard
from automl_api.datasets import endpoints as datasets
from automl_api.engine import JobQueue, migrate
from automl_api.files import endpoints as files
from automl_api.guard import Guard
from automl_api.heads import HeadOfGet
from automl_api.jobs import (
    comparison,
    confirmations,
    estimates,
    evaluations,
    events,
    front,
    layer_sensitivity,
    logs,
    micronet,
    stages,
    steering,
    trial_file,
    trials,
)
from automl_api.jobs import endpoints as jobs
from automl_api.jobs.event_feed import EventFeed
from automl_api.json_bodies import check_json
from automl_api.keys import endpoints as keys
from automl_api.keys.doorkeeper import Doorkeeper, Limits
from automl_api.models import endpoints as models
from automl_api.openapi import describe
from automl_api.policies import bringing, exports
from automl_api.policies import endpoints as policies
from automl_api.queries import check_query
from automl_api.service import Service
from automl_api.settings import Settings
from automl_api.system import endpoints as system
from automl_api.system import metrics, schemas, workers
from automl_api.system.meter import Meter, Metered, note_route
from automl_api.targets import endpoints as targets
from automl_compress import __version__
from automl_compress.store import ArtifactFiles, Database

_DESCRIPTION = (
    "Searches for the per-layer compression policy of a trained network under a budget. "
    "Accuracy is a fraction, a ratio is what is kept, and units stand in the names. "
    "Every error is a problem document (RFC 9457); a path answers methods that are not listed with "
    "405 and `Allow`, but HEAD wherever it has GET. A query parameter that an operation does not "
    "name is refused, as is an unknown field of a body."
)


_NOUNS = (
    *(system, keys, files, models, datasets, targets, estimates, jobs, steering),
    *(comparison, front, events, trials, confirmations, policies, bringing, exports),
    *(evaluations, micronet, stages, layer_sensitivity),
    *(artifacts, logs, trial_file, workers, metrics, schemas),
)
_PAGES = (report, points, dashboard, keys_page, signing_in)


def create_app(settings: Settings) -> FastAPI:
    """Make the application; the database is opened and upgraded when it starts."""
    app = FastAPI(
        title="AutoML Compress",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # both would load scripts from other hosts
        redoc_url=None,
        lifespan=_lifespan,
        dependencies=[Depends(note_route), Depends(check_query), Depends(check_json)],
    )
    app.openapi = lambda: describe(app)
    app.state.settings = settings
    answers.install(app)
    app.state.meter = Meter()
    crowd = Crowd(
        settings.max_connections,
        settings.max_connections_per_address,
        settings.max_connections_per_account,
    )
    app.add_middleware(Guard, crowd=crowd, prefix=settings.root_path or "")
    app.add_middleware(HeadOfGet)
    app.add_middleware(Metered, meter=app.state.meter)  # the last one added is the outermost
    for each in (*_NOUNS, *_PAGES):
        app.include_router(each.router)
    app.mount("/static", GZipMiddleware(StaticFiles(directory=STATIC_FOLDER), compresslevel=5))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    settings: Settings = app.state.settings
    database = Database(settings.tables_url)
    database.upgrade()
    migrate(settings)
    queue = JobQueue(database, settings)
    files = ArtifactFiles(settings.data_dir)
    app.state.service = Service(settings, database, database, files, queue, EventFeed(database))
    app.state.doorkeeper = _doorkeeper(settings, database)
    try:
        yield
    finally:
        queue.close()
        database.close()


def _doorkeeper(settings: Settings, database: Database) -> Doorkeeper:
    key = None if settings.key is None else settings.key.get_secret_value()
    limits = Limits(settings.requests_per_minute, settings.wrong_keys_per_minute)
    return Doorkeeper(database, key, limits)
