"""Reads trials from the service's JSON, for a file of Optuna."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from automl_agents.optuna_search.journal import JournalTrial
from automl_compress.core import Measurement, Policy, Trial, TrialState


def journal_trials(rows: Iterable[Mapping[str, Any]]) -> list[JournalTrial]:
    """Return the finished ones of a job's trials, as `GET /v1/jobs/{id}/trials` lists them."""
    return [_journal_trial(row) for row in rows if row["state"] != TrialState.RUNNING]


def _journal_trial(row: Mapping[str, Any]) -> JournalTrial:
    measurement = row["measurement"]
    trial = Trial(
        row["number"],
        Policy.from_json(row["policy"]),
        TrialState(row["state"]),
        None if measurement is None else Measurement.from_json(measurement),
        row["failure"],
        row["note"],
        row["role"],
        row["images"],
    )
    return JournalTrial(trial, _moment(row["created"]), _moment(row["finished"]))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
