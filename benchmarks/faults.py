"""Whatever dies, nothing that was stored is lost or evaluated again, and work goes on.

A toy job, whose trials take a tenth of a second, runs on two workers with a lease of 3 s; then one
process is killed or stopped, the database is away, or the disk is full. When the job has ended,
every trial that was stored before is looked up again, and the evaluations begun of it are counted.
Seconds run from the fault (for an outage and a full disk: from its end) until the next trial of
the job is stored.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from automl_compress.core import TrialState
from automl_compress.store import JobState, consistency
from automl_compress.store.jobs import TERMINAL
from benchmarks import records
from benchmarks.cells import Cells
from benchmarks.fault_databases import database
from benchmarks.fault_scene import (
    FAULTS,
    LEASE_SECONDS,
    STUCK_SECONDS,
    Scene,
    Stored,
    scene,
    stored,
)
from tests.api.engine.conftest import Service

NAME = "faults"
DATABASES = ("postgresql", "sqlite")
TIMES = {"worker_killed": 20, "trial_killed": 20}
OTHERWISE, QUICK = 5, 1


def times_of(fault: str, is_quick: bool) -> int:
    """Return how often a fault is injected."""
    return QUICK if is_quick else TIMES.get(fault, OTHERWISE)


def cell(kind: str, fault: str, times: int) -> dict[str, Any]:
    """Inject one fault so often into jobs on one database."""
    with tempfile.TemporaryDirectory(prefix="compress-faults-") as folder:
        place = Path(folder)
        with database(kind, place) as stoppable, scene(stoppable, place) as stage:
            events = [injected(stage, fault, number) for number in range(times)]
            with stage.service.database.reading() as session:
                found = consistency.violations(session, stage.service.settings.data_dir)
    return {"events": events, "violations": [each.to_json() for each in found]}


def injected(stage: Scene, fault: str, number: int) -> dict[str, Any]:
    """Run one job, hurt it, and say what became of it."""
    inject, content = FAULTS[fault]
    stage.service.log = stage.service.log.with_name(f"evaluations-{fault}-{number}.txt")
    job_id = stage.submit(**content)
    before = stored(stage.service, job_id)
    seconds: float | None = None
    try:
        seconds = inject(stage, job_id)
        stage.service.wait(job_id, lambda row: row.state in TERMINAL, STUCK_SECONDS)
    except AssertionError as late:
        print(f"  {fault} {number}: {str(late)[:2000]}", flush=True)
    return {"seconds": seconds, "at": time.time(), **outcome(stage.service, job_id, before)}


def outcome(service: Service, job_id: str, before: Stored) -> dict[str, Any]:
    """Compare what is stored with what was."""
    row, trials = service.job(job_id), service.trials(job_id)
    after = stored(service, job_id)
    lost = [each for each, was in before.outcomes.items() if after.outcomes.get(each) != was]
    again = [each for each, was in before.begun.items() if after.begun.get(each, was) != was]
    return {
        "state": row.state.value,
        "error": None if row.error is None else row.error.get("detail"),
        "stored": len(before.outcomes),
        "lost": lost,
        "evaluated_again": again,
        "holes": [trial.number for trial in trials] != list(range(len(trials))),
        "failed_trials": sum(trial.state is TrialState.FAILED for trial in trials),
        "begun": len(service.ended("begin")),
        "trials": len(trials),
        "is_stuck": row.state is not JobState.SUCCEEDED,
    }


def summary(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Add up every cell; `resumes_s` are medians."""
    events = [event for each in cells.values() for event in each["events"]]
    took = {key: _seconds(each["events"]) for key, each in cells.items()}
    every = [seconds for each in took.values() for seconds in each]
    return {
        "faults": len(events),
        "lost": sum(len(event["lost"]) for event in events),
        "evaluated_again": sum(len(event["evaluated_again"]) for event in events),
        "stuck": sum(event["is_stuck"] for event in events),
        "failed_trials": sum(event["failed_trials"] for event in events),
        "violations": sum(len(each["violations"]) for each in cells.values()),
        "lease_s": LEASE_SECONDS,
        "resumes_s": round(statistics.median(every), 2) if every else None,
        **{
            f"{key}.resumes_s": round(statistics.median(each), 2)
            for key, each in took.items()
            if each
        },
    }


def _seconds(events: list[dict[str, Any]]) -> list[float]:
    return [event["seconds"] for event in events if event["seconds"] is not None]


def main() -> None:
    """Compute the missing cells, print and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each fault once; nothing is kept")
    parser.add_argument("--only", help="cells whose name contains this")
    told = parser.parse_args()
    kept = Cells(NAME)
    found: dict[str, dict[str, Any]] = {}
    for fault in FAULTS:
        for kind in DATABASES:
            key, times = f"{kind}.{fault}", times_of(fault, told.quick)
            if told.only and told.only not in key:
                continue
            print(f"{key}: {times} times", flush=True)
            done = (
                cell(kind, fault, times)
                if told.quick
                else kept.compute(key, lambda k=kind, f=fault, t=times: cell(k, f, t))
            )
            if done is not None:
                found[key] = done
                print(f"  {summary({key: done})}", flush=True)
    added = summary(found)
    for key, value in added.items():
        print(f"{key:40s} {value}")
    if not told.quick and not told.only:
        records.save(NAME, added, found, [])


if __name__ == "__main__":
    main()
