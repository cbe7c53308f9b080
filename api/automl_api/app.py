"""The HTTP application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from automl_api import problem
from automl_api.artifacts import endpoints as artifacts
from automl_api.dashboard import STATIC_FOLDER, report, signing_in
from automl_api.dashboard import endpoints as dashboard
from automl_api.datasets import endpoints as datasets
from automl_api.engine import JobQueue, migrate
from automl_api.files import endpoints as files
from automl_api.guard import Guard
from automl_api.jobs import endpoints as jobs
from automl_api.jobs import events, trials
from automl_api.models import endpoints as models
from automl_api.policies import endpoints as policies
from automl_api.service import Service
from automl_api.settings import Settings
from automl_api.system import endpoints as system
from automl_compress import __version__
from automl_compress.store import ArtifactFiles, Database

_DESCRIPTION = (
    "Searches for the per-layer compression policy of a trained network under a budget. "
    "Accuracy is a fraction, a ratio is what is kept, and units stand in the names. "
    "Every error is a problem document (RFC 9457)."
)


def create_app(settings: Settings) -> FastAPI:
    """Make the application; the database is opened and upgraded when it starts."""
    app = FastAPI(
        title="AutoML Compress",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # both would load scripts from other hosts
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.settings = settings
    problem.install(app)
    key = None if settings.key is None else settings.key.get_secret_value()
    app.add_middleware(Guard, key=key, prefix=settings.root_path or "")
    for noun in (system, files, models, datasets, jobs, events, trials, policies, artifacts):
        app.include_router(noun.router)
    for pages in (report, dashboard, signing_in):
        app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    settings: Settings = app.state.settings
    database = Database(settings.tables_url)
    database.upgrade()
    migrate(settings)
    queue = JobQueue(database, settings)
    app.state.service = Service(settings, database, ArtifactFiles(settings.data_dir), queue)
    try:
        yield
    finally:
        queue.close()
        database.close()
