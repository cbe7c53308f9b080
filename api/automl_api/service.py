"""What the endpoints share: settings, tables, files, queue."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from automl_api.engine import JobQueue
from automl_api.settings import Settings
from automl_compress.store import ArtifactFiles, Database


@dataclass(frozen=True)
class Service:
    """One running service."""

    settings: Settings
    database: Database
    files: ArtifactFiles
    queue: JobQueue


def _service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


ServiceDependency = Annotated[Service, Depends(_service)]
