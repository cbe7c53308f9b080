"""Hours of jobs under random kills: flat memory, nothing lost, a consistent database.

Three toy jobs run at any time on one PostgreSQL; the HTTP interface is asked for lists, jobs,
events and a page all the while. Every twenty seconds or so something is killed or stopped: a
worker, the process that a trial runs in, a worker's time past its lease, the database for five
seconds. One worker and the HTTP interface are spared, so that they grow old: their memory is
looked at every ten seconds, and its growth is the median of the last tenth of the time less that
of the second tenth. Each job that ends is held against what was stored of it before each kill.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from automl_compress.store import consistency
from automl_compress.store.jobs import TERMINAL
from benchmarks import records
from benchmarks.fault_databases import Stoppable, database
from benchmarks.fault_scene import (
    LEASE_SECONDS,
    STUCK_SECONDS,
    Stored,
    evaluating,
    interface,
    stored,
)
from benchmarks.faults import outcome
from tests.api.engine.conftest import Service, running_service
from tests.api.engine.test_faults import stop_outside_of_transactions

NAME = "soak"
JOBS_AT_ONCE = 3
BETWEEN_KILLS_SECONDS, OUTAGE_SECONDS, SAMPLE_SECONDS = 20.0, 5.0, 10.0
KEPT_SECONDS = 300.0  # what was measured is written so often
WEIGHTS = {"worker_killed": 8, "trial_killed": 8, "worker_stopped": 3, "database_stopped": 1}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Running:
    """A job, the service with its log, and what was stored of it before the latest kill."""

    job_id: str
    service: Service
    before: Stored
    began: float = field(default_factory=time.monotonic)


@dataclass
class Soak:
    """What runs, what was done to it, and what became of the jobs."""

    service: Service
    database: Stoppable
    url: str
    veterans: dict[str, subprocess.Popen[bytes]]
    folder: Path
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    running: list[Running] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    broken: list[dict[str, Any]] = field(default_factory=list)

    def submit(self) -> None:
        """Submit jobs until enough of them run, every third in a pool of processes."""
        while len(self.running) < JOBS_AT_ONCE:
            number = self.counted["submitted"]
            self.counted["submitted"] += 1
            view = replace(self.service, log=self.folder / f"job-{number}.txt")
            processes = {"processes": 1} if number % 3 == 0 else {}
            evaluations = self.chance.randrange(20, 80)
            job_id = view.submit(evaluations=evaluations, seconds=0.2, **processes)
            self.running.append(Running(job_id, view, Stored({}, {})))

    def collect(self) -> None:
        """Take the jobs that have ended, or do not end, out of those that run."""
        for each in [*self.running]:
            row = each.service.job(each.job_id)
            is_late = time.monotonic() - each.began > STUCK_SECONDS
            if row.state not in TERMINAL and not is_late:
                continue
            self.running.remove(each)
            told = outcome(each.service, each.job_id, each.before)
            self.counted["jobs"] += 1
            for name in ("lost", "evaluated_again"):
                self.counted[name] += len(told[name])
            for name in ("trials", "failed_trials"):
                self.counted[name] += told[name]
            self.counted["stuck"] += told["is_stuck"]
            if told["lost"] or told["evaluated_again"] or told["is_stuck"] or told["holes"]:
                self.broken.append({"job_id": each.job_id, **told})
            each.service.log.unlink(missing_ok=True)

    def hurt(self) -> None:
        """Kill or stop something."""
        for each in self.running:
            each.before = stored(each.service, each.job_id)
        (name,) = self.chance.choices([*WEIGHTS], [*WEIGHTS.values()])
        if FAULTS[name](self):
            self.faults[name] += 1

    def ask(self) -> None:
        """Ask the HTTP interface for what people look at; it may say that the database is away."""
        job_id = self.chance.choice(self.running).job_id
        paths = ("/v1/jobs?limit=20", f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/trials", "/keys")
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            for path in (*paths, f"/v1/jobs/{job_id}/events", "/v1/workers"):
                answer = client.get(path)
                self.counted["requests"] += 1
                self.counted[f"status_{answer.status_code}"] += 1

    def sample(self, seconds: float) -> None:
        """Take down the resident memory of those that are spared."""
        for name, process in self.veterans.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}"
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            self.memory.setdefault(name, []).append((seconds, pages * PAGE_BYTES))

    def victim(self) -> subprocess.Popen[bytes]:
        """Return the worker that may be killed; another one is started where it has died."""
        if self.service.workers[-1].poll() is None and len(self.service.workers) > 1:
            return self.service.workers[-1]
        return self.service.start_worker()


def _worker_killed(soak: Soak) -> bool:
    worker = soak.victim()
    worker.kill()
    worker.wait()
    soak.victim()
    return True


def _trial_killed(soak: Soak) -> bool:
    worker = soak.chance.choice([soak.victim(), soak.veterans["worker"]])
    with suppress(LookupError, ProcessLookupError):  # it evaluates in threads just now
        os.kill(evaluating(worker.pid), signal.SIGKILL)
        return True
    return False


def _worker_stopped(soak: Soak) -> bool:
    worker = soak.victim()
    stop_outside_of_transactions(soak.service, worker, soak.chance.choice(soak.running).job_id)
    time.sleep(2 * LEASE_SECONDS)
    worker.send_signal(signal.SIGCONT)
    return True


def _database_stopped(soak: Soak) -> bool:
    with soak.database.away():
        with httpx.Client(base_url=soak.url, trust_env=False, timeout=30) as client:
            soak.counted[f"status_{client.get('/v1/jobs').status_code}"] += 1
        time.sleep(OUTAGE_SECONDS)
    return True


FAULTS: dict[str, Callable[[Soak], bool]] = {
    "worker_killed": _worker_killed,
    "trial_killed": _trial_killed,
    "worker_stopped": _worker_stopped,
    "database_stopped": _database_stopped,
}


def soaked(soak: Soak, seconds: float, keep: Callable[[Soak, float], None]) -> None:
    """Run jobs and hurt them for so long, then let them end."""
    began = time.monotonic()
    next_hurt = next_sample = next_kept = 0.0
    while (now := time.monotonic() - began) < seconds:
        soak.submit()
        soak.ask()
        soak.collect()
        if now >= next_sample:
            soak.sample(now)
            next_sample = now + SAMPLE_SECONDS
        if now >= next_hurt:
            soak.hurt()
            next_hurt = now + soak.chance.expovariate(1 / BETWEEN_KILLS_SECONDS)
        if now >= next_kept:
            keep(soak, now)
            next_kept = now + KEPT_SECONDS
        time.sleep(1)
    while soak.running:
        soak.collect()
        time.sleep(1)
    soak.sample(time.monotonic() - began)


def growth_mb(samples: list[tuple[float, int]]) -> float:
    """Return by how much the last tenth's median is above the second tenth's, in megabytes."""
    tenth = max(len(samples) // 10, 1)
    early, late = samples[tenth : 2 * tenth] or samples[:1], samples[-tenth:]
    medians = [statistics.median(size for _, size in each) for each in (early, late)]
    return round((medians[1] - medians[0]) / 1e6, 1)


def summary_of(soak: Soak, seconds: float) -> dict[str, Any]:
    """Return the figures of a soak that has lasted so long."""
    with soak.service.database.reading() as session:
        found = consistency.violations(session, soak.service.settings.data_dir)
    names = ("jobs", "trials", "lost", "evaluated_again", "stuck", "failed_trials", "requests")
    answers = {name: count for name, count in soak.counted.items() if name.startswith("status_")}
    memory = {}
    for name, samples in soak.memory.items():
        memory[f"{name}.memory_mb"] = round(samples[-1][1] / 1e6, 1)
        memory[f"{name}.growth_mb"] = growth_mb(samples)
    return {
        "hours": round(seconds / 3600, 2),
        "faults": sum(soak.faults.values()),
        **{name: soak.counted[name] for name in names},
        "violations": len(found),
        **memory,
        **answers,
    }


def details_of(soak: Soak) -> dict[str, Any]:
    """Return how often each fault came, the memory over time, and the jobs that broke a rule."""
    memory = {
        name: [[round(seconds), round(size / 1e6, 1)] for seconds, size in samples]
        for name, samples in soak.memory.items()
    }
    return {"faults": dict(soak.faults), "seconds_and_mb": memory, "broken": soak.broken}


def main() -> None:
    """Soak, print and write; what is there every five minutes is written too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    told = parser.parse_args()

    def keep(soak: Soak, seconds: float) -> None:
        summary = summary_of(soak, seconds)
        print(summary, flush=True)
        if told.keep:
            records.save(NAME, {"database": told.database, **summary}, details_of(soak), [0])

    with tempfile.TemporaryDirectory(prefix="compress-soak-") as name:
        folder = Path(name)
        with (
            database(told.database, folder) as stoppable,
            running_service(stoppable.url, folder, LEASE_SECONDS) as service,
            interface(service) as (api, url),
        ):
            veterans = {"interface": api, "worker": service.start_worker()}
            soak = Soak(service, stoppable, url, veterans, folder)
            soak.victim()
            began = time.monotonic()
            soaked(soak, 3600 * told.hours, keep)
            keep(soak, time.monotonic() - began)


if __name__ == "__main__":
    main()
