"""Whether this machine has what the service needs."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from automl_api.serving import listen
from automl_api.settings import Settings
from automl_compress.core.errors import AutomlCompressError
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.store import Database, leases
from automl_compress.store.moments import now
from automl_compress.store.schema import head_revision

LEAST_FREE_BYTES = 500_000_000

_PACKAGES = (
    "torch",
    "numpy",
    "safetensors",
    "torch-pruning",
    "stable-baselines3",
    "scikit-learn",
    "fastapi",
    "sqlalchemy",
    "dbos",
)

_ENGINES = (*ONNX_PACKAGES, "openvino")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing; `wrong` is what keeps the service from running."""

    name: str
    mark: Literal["ok", "note", "wrong"]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return asdict(self)


def diagnose(settings: Settings, is_worker_expected: bool = False) -> list[Finding]:
    """Look at everything.

    Args:
        settings: of the service.
        is_worker_expected: whether a worker of this machine must be alive.
    """
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _packages,
        _engines,
        _database,
        _disk,
        _port,
        _access,
        _threads,
        *((_worker,) if is_worker_expected else ()),
    )
    return [check(settings) for check in checks]


def _python(settings: Settings) -> Finding:
    return Finding("python", "ok", sys.version.split()[0])


def _packages(settings: Settings) -> Finding:
    found: list[str] = []
    missing: list[str] = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        text = f"missing: {', '.join(missing)}; install automl-compress[serve]"
        return Finding("packages", "wrong", text)
    return Finding("packages", "ok", ", ".join(found))


def _engines(settings: Settings) -> Finding:
    found = [f"{name} {version(name)}" for name in _ENGINES if is_installed(name)]
    missing = [name for name in _ENGINES if not is_installed(name)]
    if missing:
        text = f"missing: {', '.join(missing)}; exports that need them are refused"
        return Finding("engines", "note", f"{text}: install automl-compress[engines]")
    return Finding("engines", "ok", ", ".join(found))


def _database(settings: Settings) -> Finding:
    file = settings.data_dir / "automl-compress.sqlite"
    if settings.database_url is None and not file.exists():
        return Finding("database", "note", f"{file} is not there yet; `serve` makes it")
    try:
        database = Database(settings.tables_url)
        try:
            database.check()
        finally:
            database.close()
    except AutomlCompressError as error:
        return Finding("database", "wrong", str(error))
    return Finding("database", "ok", f"answers, revision {head_revision()}")


def _disk(settings: Settings) -> Finding:
    place = _existing(settings.data_dir.absolute())
    if not os.access(place, os.W_OK):
        text = f"{place} cannot be written; choose another AUTOML_COMPRESS_DATA_DIR"
        return Finding("disk", "wrong", text)
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free at {place}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "wrong", f"{text}; make room")
    return Finding("disk", "ok", text)


def _port(settings: Settings) -> Finding:
    try:
        listen(settings.host, settings.port).close()
    except AutomlCompressError as error:
        return Finding("port", "note", str(error))
    return Finding("port", "ok", f"{settings.port} of {settings.host} is free")


def _access(settings: Settings) -> Finding:
    if settings.key is None:
        return Finding("access", "ok", "no key: for this machine only")
    return Finding("access", "ok", "a key is set")


def _threads(settings: Settings) -> Finding:
    told, cores = os.environ.get("OMP_NUM_THREADS"), os.cpu_count()
    text = f"{cores} cores, OMP_NUM_THREADS {told or 'not set'}"
    return Finding("threads", "ok", f"{text}; evaluation runs one thread in each process")


def _worker(settings: Settings) -> Finding:
    """Look for a worker of this machine whose lease has not run out.

    Its beats carry the time of this machine's clock, the one that is read here.
    """
    host = socket.gethostname()
    try:
        database = Database(settings.tables_url)
        try:
            with database.reading() as session:
                found = [each for each in leases.every(session) if each.host == host]
        finally:
            database.close()
    except AutomlCompressError as error:
        return Finding("worker", "wrong", str(error))
    silences = [(now() - each.renewed_at).total_seconds() for each in found if not each.reaped_by]
    if not silences:
        return Finding("worker", "wrong", f"none of {host} has a lease; start or restart it")
    text = f"the last sign of life on {host} came {min(silences):.0f} s ago"
    if min(silences) > settings.lease_seconds:
        least = f"a lease is {settings.lease_seconds:g} s"
        return Finding("worker", "wrong", f"{text}, {least}; restart the worker")
    return Finding("worker", "ok", text)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
