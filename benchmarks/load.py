"""The HTTP interface under load: many stored trials, open streams, fifty requests a second.

PostgreSQL holds 100,000 trials and their events. Fifty streams are open, on jobs to which trials
are added all the while, and requests are sent by the clock, whether or not earlier ones were
answered; a latency runs from the moment at which a request was due. Another machine's or user's
work on these cores is in the latencies: the load average is printed beside them, and the CPU time
of the interface's process for each request, which includes the streams.

The overhead of a trial is the CPU time of a worker between two stored trials of a toy job whose
evaluation, in a process of its own, takes next to nothing; the searcher's share is taken off.
"""

import argparse
import asyncio
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from automl_agents.random_search import RandomSearcher
from automl_api.client import Client
from automl_api.settings import Settings
from automl_compress.store import JobState
from benchmarks import records
from benchmarks.dashboard_scene import Stage, Trials, registered
from tests.api.conftest import job_body
from tests.api.engine.conftest import ROOT, running_service
from tests.automl_compress.store.databases import fresh_database, opened, postgres_server
from tests.fakes import problem_of

NAME = "load"
JOBS, TRIALS_OF_A_JOB = 91, 1000
ORIGINALS = 50  # trials that the store itself wrote; the others are copies
LARGE_JOB = 10_000  # trials of the last job
RUNNING = 10  # jobs to which trials are added, and that streams watch
STREAMS, REQUESTS_PER_SECOND, WRITES_PER_SECOND = 50, 50, 5
OVERHEAD_TRIALS = 100
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_COPY_TRIALS = """
INSERT INTO compress_trial (job_id, number, id, state, policy, policy_digest, note, role, images,
  measurement, score, failure, asked_position, told_position, created_at, finished_at)
SELECT CAST(:to AS text), number + shift, 'trl_' || left(md5(CAST(:to AS text) || (number + shift)),
  26), state, policy, md5(CAST(:to AS text) || (number + shift)) || md5(number::text), note, role,
  images, measurement, score + random() / 100, failure, asked_position + 2 * shift,
  told_position + 2 * shift, created_at, finished_at
FROM compress_trial, generate_series(CAST(:first AS int), :last, :step) AS shift
WHERE job_id = :from AND number < :step
"""
_COPY_EVENTS = """
INSERT INTO compress_event (job_id, seq, kind, data, created_at)
SELECT CAST(:to AS text), seq + 2 * shift, kind, data, created_at
FROM compress_event, generate_series(CAST(:first AS int), :last, :step) AS shift
WHERE job_id = :from AND kind LIKE 'trial.%' AND seq <= 2 * :step + :seq
"""
_EVENTS_BEFORE = "SELECT min(seq) FROM compress_event WHERE job_id = :job AND kind LIKE 'trial.%'"
_COUNT = """
UPDATE compress_job SET state = :state, trials_done = :trials, evaluations = :trials,
  history_length = 2 * :trials, best_score = 0.8, best_number = 0, started_at = now(),
  event_count = (SELECT max(seq) FROM compress_event WHERE job_id = :job)
WHERE id = :job
"""


def fill(stage: Stage) -> list[str]:
    """Submit jobs, store one's trials as a worker does, and copy them; return the jobs' ids."""
    with Client(stage.url) as client:
        body = job_body(stage.model, stage.dataset, effort={"evaluations": 100_000})
        made = [client.submit(body | {"name": f"job {n}"}).content["id"] for n in range(JOBS)]
    Trials(stage, made[0]).store(ORIGINALS)
    with stage.database.session() as session:
        before = _events_before(session, made[0])
        for place, job_id in enumerate(made):
            count = LARGE_JOB if job_id == made[-1] else TRIALS_OF_A_JOB
            first = 0 if place else ORIGINALS  # what the first job has is not copied over itself
            shifts = {"first": first, "last": count - ORIGINALS, "step": ORIGINALS}
            told = {"from": made[0], "to": job_id, "seq": before, **shifts}
            session.execute(text(_COPY_TRIALS), told)
            session.execute(text(_COPY_EVENTS), told)
            state = (JobState.RUNNING if 1 <= place <= RUNNING else JobState.SUCCEEDED).value
            session.execute(text(_COUNT), {"job": job_id, "trials": count, "state": state})
    with stage.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    return made


def _events_before(session: Session, job_id: str) -> int:
    """Return how many events a job has before those of its trials."""
    return session.scalars(text(_EVENTS_BEFORE), {"job": job_id}).one() - 1


@contextmanager
def interface(settings: Settings) -> Iterator[tuple[int, str]]:
    """Start the HTTP interface; yield its process id and URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--data-dir", settings.data_dir, "--database-url", settings.tables_url)
    options = ("--no-worker", "--no-auth", "--port", str(port), *place)
    process = subprocess.Popen(
        (sys.executable, "-m", "automl_api.cli", "serve", *options),
        cwd=ROOT,
        env=os.environ | {"AUTOML_COMPRESS_REQUESTS_PER_MINUTE": "1000000"},
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _is_ready(url):
            assert process.poll() is None, "the interface did not start"
            time.sleep(0.1)
        yield process.pid, url
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/v1/ready", trust_env=False).status_code == 200
    return False


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time that a process has used, its children's not counted."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


@contextmanager
def writing(stage: Stage, made: Sequence[str]) -> Iterator[None]:
    """Add trials to the running jobs within the block, in turns."""
    done = threading.Event()
    growing = itertools.cycle([Trials(stage, each, count=TRIALS_OF_A_JOB) for each in made])

    def write() -> None:
        while not done.wait(1 / WRITES_PER_SECOND):
            next(growing).store_one()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Traffic:
    """Sends what users and programs ask for, and takes down how long each took."""

    def __init__(self, client: httpx.AsyncClient, made: Sequence[str], trials: Sequence[str]):
        self._client, self._made, self._trials = client, made, trials
        self._random = random.Random(0)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.events = 0

    def _path(self) -> tuple[str, str]:
        job_id = self._random.choice(self._made)
        deep = self._random.randrange(TRIALS_OF_A_JOB)
        large = f"/v1/jobs/{self._made[-1]}"
        return self._random.choice(
            (
                ("job", f"/v1/jobs/{job_id}"),
                ("jobs", "/v1/jobs?limit=50"),
                ("trials", f"/v1/jobs/{job_id}/trials?limit=50&after={deep}"),
                ("trials of a large job", f"{large}/trials?limit=50&after={9 * deep}"),
                ("trial", f"/v1/trials/{self._random.choice(self._trials)}"),
                ("events", f"/v1/jobs/{job_id}/events?limit=50&after={deep}"),
                ("workers", "/v1/workers"),
                ("page of a job", f"/jobs/{job_id}"),
                ("page of jobs", "/"),
            )
        )

    async def send(self, due: float) -> None:
        """Send one request that was due at this time of the loop's clock."""
        name, path = self._path()
        try:
            answer = await self._client.get(path, headers={"Accept": "*/*"})
            if answer.status_code >= 400:
                self.errors.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        except httpx.HTTPError as error:
            self.errors.append(f"{path}: {error!r}")
        self.seconds[name].append(asyncio.get_running_loop().time() - due)

    async def listen(self, job_id: str) -> None:
        """Keep a stream open, from its job's latest events on."""
        headers = {"Accept": "text/event-stream"}
        path = f"/v1/jobs/{job_id}/events?after={2 * TRIALS_OF_A_JOB}"
        try:
            async with self._client.stream("GET", path, headers=headers, timeout=None) as answer:
                async for line in answer.aiter_lines():
                    self.events += line.startswith("id:")
                self.errors.append(f"the stream of {job_id} ended: {answer.status_code}")
        except httpx.HTTPError as error:
            self.errors.append(f"the stream of {job_id} broke: {error!r}")


@asynccontextmanager
async def streams(traffic: Traffic, made: Sequence[str]) -> AsyncIterator[None]:
    """Keep the streams open within the block."""
    tasks = [
        asyncio.create_task(traffic.listen(made[1 + number % RUNNING])) for number in range(STREAMS)
    ]
    await asyncio.sleep(3)
    try:
        yield
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def loaded(url: str, process_id: int, traffic: Traffic, seconds: float) -> dict[str, Any]:
    """Send requests by the clock; return the figures."""
    loop = asyncio.get_running_loop()
    began, before, sent = loop.time(), cpu_seconds(process_id), []
    for number in range(int(seconds * REQUESTS_PER_SECOND)):
        due = began + number / REQUESTS_PER_SECOND
        await asyncio.sleep(max(due - loop.time(), 0))
        sent.append(asyncio.create_task(traffic.send(due)))
    await asyncio.gather(*sent)
    used = cpu_seconds(process_id) - before
    return {"requests": len(sent), "api_cpu_ms_per_request": round(1000 * used / len(sent), 2)}


async def measured(url: str, process_id: int, made: list[str], trials: list[str], seconds: float):
    """Open the streams, send the requests; return what was measured."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=30, limits=limits
    ) as client:
        traffic = Traffic(client, made, trials)
        async with streams(traffic, made):
            idle = cpu_seconds(process_id)
            await asyncio.sleep(5)
            idle = (cpu_seconds(process_id) - idle) / 5
            warm = Traffic(client, made, trials)
            await loaded(url, process_id, warm, 3)
            found = await loaded(url, process_id, traffic, seconds)
    every = [each for some in traffic.seconds.values() for each in some]
    by_path = {
        name: [round(1000 * float(np.percentile(some, share)), 1) for share in (50, 95)]
        for name, some in sorted(traffic.seconds.items())
    }
    summary = {
        **found,
        "p50_ms": round(1000 * float(np.percentile(every, 50)), 1),
        "p95_ms": round(1000 * float(np.percentile(every, 95)), 1),
        "errors": len(traffic.errors),
        "events_received": traffic.events,
        "streams_cpu_share": round(idle, 3),
        "load": round(os.getloadavg()[0], 1),
    }
    return summary, {"p50_and_p95_ms": by_path, "errors": traffic.errors[:20]}


def overhead_ms(url: str, folder: Path) -> float:
    """Return the CPU milliseconds of a worker for each trial, the searcher's taken off."""
    with running_service(url, folder, lease_seconds=30.0) as service:
        worker = service.start_worker()
        count = 50 + OVERHEAD_TRIALS
        job_id = service.submit(evaluations=count + 50, seconds=0.0, processes=1)
        first = service.wait(job_id, lambda row: row.trials_done >= 50, 600).trials_done
        before = cpu_seconds(worker.pid)
        last = service.wait(job_id, lambda row: row.trials_done >= count, 600).trials_done
        used = cpu_seconds(worker.pid) - before
    searcher = RandomSearcher(problem_of(evaluations=OVERHEAD_TRIALS))
    began = time.process_time()
    for _ in range(OVERHEAD_TRIALS):
        searcher.ask()
    asking = (time.process_time() - began) / OVERHEAD_TRIALS
    return round(1000 * (used / (last - first) - asking), 2)


def main() -> None:
    """Fill, load, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of requests")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    told = parser.parse_args()
    with postgres_server() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with fresh_database(server) as url:
            overhead = overhead_ms(url, folder)
            print(f"overhead of a trial: {overhead} ms CPU", flush=True)
        settings = Settings(data_dir=folder / "data", database_url=None)
        with fresh_database(server) as url, opened(url) as database:
            settings = settings.model_copy(update={"database_url": url})
            with interface(settings) as (process_id, address):
                stage = registered(address, database)
                made = fill(stage)
                print(f"filled, load {os.getloadavg()[0]:.1f}", flush=True)
                with database.reading() as session:
                    query = "SELECT id FROM compress_trial ORDER BY id LIMIT 2000"
                    trials = list(session.scalars(text(query)))
                with writing(stage, made[1:RUNNING]):
                    summary, details = asyncio.run(
                        measured(address, process_id, made, trials, told.seconds)
                    )
    summary = {"trials": (JOBS - 1) * TRIALS_OF_A_JOB + LARGE_JOB, "streams": STREAMS, **summary}
    summary["overhead_cpu_ms_per_trial"] = overhead
    for key, value in (summary | details).items():
        print(f"{key:32s} {value}")
    if told.keep:
        records.save(NAME, summary, details, [0])


if __name__ == "__main__":
    main()
