"""Whether this machine has what the service needs."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from sqlalchemy.orm import Session

from automl_api.engine.health import clock_trouble, disk_trouble, existing
from automl_api.engine.queue import queue_of
from automl_api.engine.system import GPU_QUEUE
from automl_api.serving import listen
from automl_api.settings import Settings
from automl_compress import __version__
from automl_compress.core.errors import AutomlCompressError, ClusterFailed
from automl_compress.evaluate.cluster_joining import join, leave
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.store import Database, activity, leases
from automl_compress.store.schema import head_revision
from automl_compress.store.tables import LeaseRow

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


Check = Callable[[Settings], Finding]


def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything, all workers included."""
    checks: tuple[Check, ...] = (
        *_OF_A_MACHINE,
        _port,
        _access,
        *((_cluster,) if settings.ray_address is not None else ()),
        *((_clock, _workers) if _has_tables(settings) else ()),
    )
    return [check(settings) for check in checks]


def diagnose_worker(settings: Settings) -> list[Finding]:
    """Look at what the worker of this machine needs, and at no other worker.

    So a health check fails where a restart here may help: not for the trouble of another machine,
    nor for another version while workers are replaced one by one, nor for a cluster, without which
    a worker ends by itself.
    """
    clock = (_clock,) if _has_tables(settings) else ()
    return [check(settings) for check in (*_OF_A_MACHINE, *clock, _worker)]


def _has_tables(settings: Settings) -> bool:
    return _database(settings).mark == "ok"


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
    trouble = disk_trouble(settings.data_dir)
    if trouble is not None:
        return Finding("disk", "wrong", f"{trouble}; or choose another AUTOML_COMPRESS_DATA_DIR")
    place = existing(settings.data_dir.absolute())
    return Finding("disk", "ok", f"{shutil.disk_usage(place).free / 1e9:.1f} GB free at {place}")


def _clock(settings: Settings) -> Finding:
    try:
        with _tables(settings) as session:
            ahead = leases.clock_ahead_seconds(session)
    except AutomlCompressError as error:
        return Finding("clock", "wrong", str(error))
    trouble = clock_trouble(ahead)
    if trouble is not None:
        return Finding("clock", "wrong", trouble)
    return Finding("clock", "ok", f"{abs(ahead):.1f} s from the database's")


def _workers(settings: Settings) -> Finding:
    """Look at what every worker says of itself, and at who says nothing."""
    try:
        with _tables(settings) as session:
            at, every = leases.database_now(session), leases.every(session)
            for_gpus = [row for row in activity.waiting_jobs(session) if queue_of(row) == GPU_QUEUE]
    except AutomlCompressError as error:
        return Finding("workers", "wrong", str(error))
    known = [each for each in every if not each.reaped_by]
    silent = [row for row in known if leases.silent_seconds(row, at) > settings.lease_seconds]
    found = [each for each in known if each not in silent]
    wrong = _complaints(found)
    named = f"silent for longer than a lease: {', '.join(each.owner for each in silent)}"
    if silent and not found:
        wrong.append(f"{named}; nobody serves: start a worker, which takes over their jobs")
    if found and for_gpus and not any(each.gpu for each in found):
        wrong.append(
            f"no worker has a GPU, and jobs that ask for one wait (backend cuda): "
            f"{', '.join(row.id for row in for_gpus)}; start a worker where torch finds a GPU, or "
            "clone them with backend auto"
        )
    if wrong:
        return Finding("workers", "wrong", "; ".join(wrong))
    if not found:
        return Finding("workers", "note", "none serves: jobs wait until one is started")
    text = f"{len(found)}, of version {__version__}, without trouble"
    if silent:
        return Finding("workers", "note", f"{text}; {named}; others take over their jobs")
    return Finding("workers", "ok", text)


def _complaints(alive: Sequence[LeaseRow]) -> list[str]:
    """Say what is wrong with workers by their own rows."""
    troubles = [f"{each.owner}: {each.trouble}" for each in alive if each.trouble]
    return troubles + [
        f"{each.owner} is of version {each.version or 'unknown'}, this is {__version__}; "
        "bring all to one"
        for each in alive
        if each.version != __version__
    ]


@contextmanager
def _tables(settings: Settings) -> Generator[Session]:
    database = Database(settings.tables_url)
    try:
        with database.reading() as session:
            yield session
    finally:
        database.close()


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


def _cluster(settings: Settings) -> Finding:
    """Join the cluster as a worker does, and leave it."""
    assert settings.ray_address is not None
    try:
        nodes = join(settings.ray_address).nodes()
    except ClusterFailed as error:
        return Finding("cluster", "wrong", str(error))
    alive = [each["Resources"] for each in nodes if each["Alive"]]
    leave()
    cpus, gpus = (sum(each.get(key, 0) for each in alive) for key in ("CPU", "GPU"))
    text = f"{len(alive)} nodes at {settings.ray_address} with {cpus:g} CPUs and {gpus:g} GPUs"
    return Finding("cluster", "ok", f"{text}, all of version {__version__}")


def _worker(settings: Settings) -> Finding:
    """Look for a worker of this machine whose lease has not run out."""
    host = socket.gethostname()
    try:
        with _tables(settings) as session:
            at, found = leases.database_now(session), leases.every(session)
    except AutomlCompressError as error:
        return Finding("worker", "wrong", str(error))
    here = [each for each in found if each.host == host and not each.reaped_by]
    silences = [leases.silent_seconds(each, at) for each in here]
    if not silences:
        return Finding("worker", "wrong", f"none of {host} has a lease; start or restart it")
    text = f"the last sign of life on {host} came {min(silences):.0f} s ago"
    alive = [
        row for row, each in zip(here, silences, strict=True) if each <= settings.lease_seconds
    ]
    if not alive:
        least = f"a lease is {settings.lease_seconds:g} s"
        return Finding("worker", "wrong", f"{text}, {least}; restart the worker")
    wrong = _complaints(alive)
    return Finding("worker", "wrong" if wrong else "ok", "; ".join(wrong) or text)


_OF_A_MACHINE: tuple[Check, ...] = (_python, _packages, _engines, _database, _disk, _threads)
