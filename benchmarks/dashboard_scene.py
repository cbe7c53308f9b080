"""A real service without a worker, whose job gets trials as a search would store them."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from automl_api.client import Client
from automl_api.settings import Settings
from automl_compress.core import Choice, Cost, Measurement, Policy, Recipe, Suggestion
from automl_compress.store import Database, JobState, SqlTrialStore, jobs
from tests.api.browser.conftest import KEY, serving
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS, job_body

IMAGES = 397  # as in the demo
SEARCHERS = ("auto", "amc", "nsga2", "random")  # whose turns a portfolio's notes tell


@dataclass
class Stage:
    """The service, its tables, and a network and data to submit jobs with."""

    url: str
    database: Database
    model: dict[str, Any]
    dataset: dict[str, Any]

    def running_job(self, name: str) -> str:
        """Submit a job and bring it to where its trials come in."""
        effort = {"evaluations": 100_000}
        body = job_body(self.model, self.dataset, searcher="portfolio", effort=effort)
        with Client(self.url, KEY) as client:
            job_id: str = client.submit(body | {"name": name}).content["id"]
        with self.database.session() as session:
            for state in (JobState.VALIDATING, JobState.PROFILING, JobState.RUNNING):
                row = jobs.move(session, job_id, state)
            row.baseline = {"accuracy": 0.99, "total": IMAGES}
        return job_id

    def server_seconds(self) -> float:
        """Return the processor time that the service took so far."""
        ticks = 0
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                place = Path("/proc", child)
                if b"automl_api.cli" in (place / "cmdline").read_bytes():
                    fields = (place / "stat").read_text().rpartition(")")[2].split()
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def registered(url: str, database: Database, key: str | None = None) -> Stage:
    """Register the digits and their network with a service."""
    with Client(url, key) as client:
        model = client.create_model("resnet-20", config=DIGITS_CONFIG, weights=DIGITS_WEIGHTS)
        dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
    return Stage(url, database, model, dataset)


@contextmanager
def stage(folder: Path) -> Generator[Stage]:
    """Serve from a folder, with the digits and their network registered."""
    with serving(folder, "--no-worker") as url:
        database = Database(Settings(data_dir=folder).tables_url)
        yield registered(url, database, KEY)
        database.close()


@dataclass
class Trials:
    """What a search stores: policies at random, whose scores rise with what they keep."""

    stage: Stage
    job_id: str
    random: Random = field(default_factory=lambda: Random(0))
    count: int = 0

    def store(self, wanted: int) -> None:
        """Store so many trials as fast as the tables take them."""
        for _ in range(wanted):
            self.store_one()

    def store_one(self) -> None:
        """Ask for a trial and tell it, each in its own transaction."""
        store = SqlTrialStore(self.stage.database, self.job_id)
        suggestion = self._suggestion()
        store.asked(suggestion)
        store.told(suggestion.complete(self._measurement(suggestion.policy)))
        self.count += 1

    def _suggestion(self) -> Suggestion:
        names = [each["name"] for each in self.stage.model["groups"]]
        level = self.random.uniform(0.1, 0.85)
        cut = [min(0.9, max(0.0, self.random.gauss(level, 0.15))) for _ in names]
        searcher = self.random.choice(SEARCHERS)
        note = f"{searcher}: cuts {sum(cut) / len(cut):.0%} on average"
        return Suggestion(self.count, Policy(tuple(map(Choice, names, cut))), note)

    def _measurement(self, policy: Policy) -> Measurement:
        kept = 1 - sum(choice.sparsity for choice in policy.choices) / len(policy.choices)
        full = self.stage.model["totals"]
        correct = round(
            IMAGES * min(1.0, max(0.1, self.random.gauss(1.02 - 0.6 * (1 - kept), 0.03)))
        )
        return Measurement(
            cost=Cost(
                macs=int(full["macs"] * kept * kept),
                parameters=int(full["parameters"] * kept),
                size_bytes=int(full["size_bytes"] * kept),
                bit_operations=int(full["bit_operations"] * kept * kept),
                micronet=int(full["micronet"] * kept),
            ),
            score=correct / IMAGES,
            correct=correct,
            total=IMAGES,
            cross_entropy=1.0 - kept,
            kl=0.5 - kept / 2,
            split=f"search: train rows 0-{IMAGES - 1}",
            fidelity="proxy",
            recipe=Recipe(),
            seed=0,
            evaluations=1.0,
            wall_seconds=0.05,
            cpu_seconds=0.05,
            hits="A" * 68,
        )


@contextmanager
def streaming(trials: Trials, per_second: float) -> Generator[None]:
    """Store trials at a steady rate for as long as the block lasts."""
    ended = threading.Event()

    def store() -> None:
        start, first = time.monotonic(), trials.count
        while not ended.is_set():
            trials.store_one()
            ended.wait(start + (trials.count - first) / per_second - time.monotonic())

    thread = threading.Thread(target=store)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
