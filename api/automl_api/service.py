"""What the endpoints share: settings, tables, files, queue."""

from dataclasses import dataclass, replace
from typing import Annotated, cast

from fastapi import Depends, Request

from automl_api.engine import JobQueue
from automl_api.jobs.event_feed import EventFeed
from automl_api.keys.caller import OPERATOR, Caller
from automl_api.settings import Settings
from automl_compress.store import ArtifactFiles, Database


@dataclass(frozen=True)
class Service:
    """One running service, as one caller sees it.

    database: of what belongs to the caller's account; of everything for administrators.
    everything: of all accounts, for what may be told of them: that there are so many.
    queue: of all jobs; who steers one must have read it from the database before.
    feed: of the events of all jobs, likewise.
    """

    settings: Settings
    database: Database
    everything: Database
    files: ArtifactFiles
    queue: JobQueue
    feed: EventFeed
    caller: Caller = OPERATOR


async def _service(request: Request) -> Service:
    # Async, though it awaits nothing: FastAPI calls what is not in a thread, for each request.
    service = cast("Service", request.app.state.service)
    caller = cast("Caller", request.state.caller)
    return replace(service, caller=caller, database=service.database.of(caller.seen))


ServiceDependency = Annotated[Service, Depends(_service)]
