"""One service with two workers, and what may happen to it while a job runs."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from automl_compress.store import JobState
from automl_compress.store.jobs import TERMINAL
from benchmarks.fault_databases import Stoppable
from tests.api.engine.conftest import ROOT, Service, running_service
from tests.api.engine.test_disk import limit_files, make_room
from tests.api.engine.test_faults import stop_outside_of_transactions

LEASE_SECONDS = 3.0
OUTAGE_SECONDS = 10.0
STUCK_SECONDS = 300.0  # a job that takes longer, where it needs a few, is stuck
TRIALS, BEFORE = 30, 5


@dataclass(frozen=True)
class Stored:
    """What was stored when the fault came: outcome and number of evaluations of each trial."""

    outcomes: dict[int, object]
    begun: dict[int, int]


def stored(service: Service, job_id: str) -> Stored:
    """Take down what is stored of a job, whose log is the service's."""
    trials = [each for each in service.trials(job_id) if each.measurement or each.failure]
    begun = Counter(service.ended("begin"))
    return Stored(
        {each.number: (each.measurement, each.failure) for each in trials},
        {each.number: begun[each.number] for each in trials},
    )


class Scene:
    """Two workers of toy jobs, one database."""

    def __init__(self, service: Service, database: Stoppable) -> None:
        self.service, self.database = service, database
        for _ in range(2):
            service.start_worker()

    def submit(self, **content: object) -> str:
        """Submit a job and wait until some of its trials are stored."""
        job_id = self.service.submit(**{"evaluations": TRIALS, "seconds": 0.1, **content})
        self.service.wait(job_id, lambda row: row.trials_done >= BEFORE, STUCK_SECONDS)
        return job_id

    def owner(self, job_id: str) -> subprocess.Popen[bytes]:
        """Return the worker that has the job in its hands."""
        owner = self.service.wait(job_id, lambda row: row.owner is not None).owner or ""
        prefix = f"{socket.gethostname()}:"
        process_id = int(owner.removeprefix(prefix).split(":")[0])
        return next(each for each in self.service.workers if each.pid == process_id)

    def until_next_trial(self, job_id: str, began: float) -> float:
        """Wait for one more trial, or the job's end; return the seconds since `began`."""
        done = self.service.job(job_id).trials_done
        self.service.wait(
            job_id, lambda row: row.trials_done > done or row.state in TERMINAL, STUCK_SECONDS
        )
        return time.monotonic() - began


Fault = Callable[[Scene, str], float]  # returns the seconds until work went on


def worker_killed(scene: Scene, job_id: str) -> float:
    """Kill -9 the worker that has the job; start another one once it went on."""
    worker = scene.owner(job_id)
    worker.kill()
    worker.wait()
    seconds = scene.until_next_trial(job_id, time.monotonic())
    scene.service.start_worker()
    return seconds


def trial_killed(scene: Scene, job_id: str) -> float:
    """Kill -9 the child process that evaluates, in the middle of an evaluation."""
    worker = scene.owner(job_id)
    begun = len(scene.service.ended("begin"))
    while len(scene.service.ended("begin")) == begun:
        time.sleep(0.01)
    os.kill(evaluating(worker.pid), signal.SIGKILL)
    return scene.until_next_trial(job_id, time.monotonic())


def api_killed(scene: Scene, job_id: str) -> float:
    """Kill -9 the HTTP interface while it answers; work must not even pause."""
    with interface(scene.service) as (process, url), _asking(f"{url}/v1/jobs/{job_id}"):
        time.sleep(0.5)
        process.kill()
        process.wait()
        return scene.until_next_trial(job_id, time.monotonic())


def worker_stopped(scene: Scene, job_id: str) -> float:
    """SIGSTOP the worker past its lease, and let it go on once another one has the job."""
    worker = scene.owner(job_id)
    before = scene.service.job(job_id).owner
    stop_outside_of_transactions(scene.service, worker, job_id)
    began = time.monotonic()
    scene.service.wait(job_id, lambda row: row.owner not in (None, before), STUCK_SECONDS)
    seconds = scene.until_next_trial(job_id, began)
    time.sleep(LEASE_SECONDS)
    worker.send_signal(signal.SIGCONT)
    return seconds


def database_stopped(scene: Scene, job_id: str) -> float:
    """Take the database away for ten seconds."""
    with scene.database.away():
        time.sleep(OUTAGE_SECONDS)
    return scene.until_next_trial(job_id, time.monotonic())


def disk_full(scene: Scene, job_id: str) -> float:
    """Fill every worker's disk while one writes the artifacts; make room after five seconds."""
    scene.service.wait_for_state(job_id, JobState.FINALIZING, STUCK_SECONDS)
    alive = [each for each in scene.service.workers if each.poll() is None]
    for each in alive:
        limit_files(each, 0)
    time.sleep(5)
    for each in alive:
        make_room(each)
    began = time.monotonic()
    scene.service.wait(job_id, lambda row: row.state in TERMINAL, STUCK_SECONDS)
    return time.monotonic() - began


FAULTS: dict[str, tuple[Fault, dict[str, object]]] = {
    "worker_killed": (worker_killed, {}),
    "trial_killed": (trial_killed, {"processes": 1, "seconds": 0.3, "evaluations": 12}),
    "api_killed": (api_killed, {"evaluations": 150}),
    "worker_stopped": (worker_stopped, {"evaluations": 60}),
    "database_stopped": (database_stopped, {"evaluations": 60}),
    "disk_full": (disk_full, {"finalise": 1.0}),
}


@contextmanager
def scene(database: Stoppable, folder: Path) -> Iterator[Scene]:
    """Start a service on the database."""
    with running_service(database.url, folder, LEASE_SECONDS) as service:
        yield Scene(service, database)


def evaluating(worker_id: int) -> int:
    """Return the process that a worker evaluates in; it has others, which only keep house."""
    listed = [path.read_text() for path in Path(f"/proc/{worker_id}/task").glob("*/children")]
    for child in map(int, " ".join(listed).split()):
        with suppress(OSError):
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                return child
    raise LookupError(f"worker {worker_id} evaluates in no process of its own")


@contextmanager
def interface(service: Service) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the HTTP interface on the service's database; yield its process and its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--data-dir", service.settings.data_dir, "--database-url", service.settings.tables_url)
    options = ("--no-worker", "--no-auth", "--port", str(port), *place)
    process = subprocess.Popen(
        (sys.executable, "-m", "automl_api.cli", "serve", *options),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(f"{url}/v1/ready", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield process, url
    finally:
        process.kill()
        process.wait()


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Send one request after the other within the block."""
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False) as client:
            while not done.is_set():
                with suppress(httpx.TransportError):
                    client.get(url).raise_for_status()
                time.sleep(0.01)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)
