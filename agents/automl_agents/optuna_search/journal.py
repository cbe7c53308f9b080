"""Writes a study's trials as a journal file, which Optuna and optuna-dashboard read."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from automl_agents.optuna_search.quiet import quiet
from automl_compress.core import Policy, Trial
from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.core.policy import FLOAT_BITS


@dataclass(frozen=True, slots=True)
class JournalTrial:
    """A told trial, and when it began and ended."""

    trial: Trial
    started: datetime
    finished: datetime


def write_journal(
    path: Path,
    name: str,
    attributes: Mapping[str, Any],
    trials: Iterable[JournalTrial],
    *,
    replaces: bool = False,
) -> int:
    """Write a study file, whole or not at all, and return how many trials it holds.

    A parameter is the sparsity of a group, by the group's name, or what becomes of a layer: its
    sparsity, weight bits or activation bits, where they are changed. The value is the score.
    Trials that cannot win, probes and those scored on fewer images, are `PRUNED`; those without a
    measurement have failed. User attributes hold the rest.

    Args:
        path: of the file.
        name: of the study in it.
        attributes: of the study, ready for JSON.
        trials: complete or failed, by number.
        replaces: whether a file that exists is replaced.

    Raises:
        InvalidInput: the file exists, and `replaces` is not set.
        StorageFailed: it cannot be written.
    """
    if path.exists() and not replaces:
        raise InvalidInput(f"{path} exists already; give another name, or --force to replace it")
    frozen = [_frozen(each) for each in trials]
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            journal = Path(folder) / "journal.log"
            _write(journal, name, attributes, frozen)
            journal.replace(path)
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written ({error.strerror}); choose another file"
        ) from error
    return len(frozen)


def _write(
    journal: Path, name: str, attributes: Mapping[str, Any], trials: Iterable[FrozenTrial]
) -> None:
    with quiet():
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name=name,
            direction="maximize",
        )
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    study.add_trials(trials)


def _frozen(entry: JournalTrial) -> FrozenTrial:
    trial, measured = entry.trial, entry.trial.measurement
    if trial.score is not None:
        state = TrialState.COMPLETE
    else:
        state = TrialState.FAIL if measured is None else TrialState.PRUNED
    parameters = _parameters(trial.policy)
    return FrozenTrial(
        number=-1,  # the study gives the next one
        trial_id=-1,
        state=state,
        value=None if measured is None else measured.score,
        values=None,
        datetime_start=entry.started,
        datetime_complete=entry.finished,
        params=parameters,
        distributions={name: _limits(value) for name, value in parameters.items()},
        user_attrs=_user_attributes(trial),
        system_attrs={},
        intermediate_values={},
    )


def _parameters(policy: Policy) -> dict[str, float]:
    found: dict[str, float] = {choice.group: choice.sparsity for choice in policy.choices}
    for choice in policy.layers:
        if choice.sparsity:
            found[f"sparsity.{choice.layer}"] = choice.sparsity
        for name in ("weight_bits", "activation_bits"):
            bits = int(getattr(choice, name))
            if bits != FLOAT_BITS:
                found[f"{name}.{choice.layer}"] = bits
    return found


def _limits(value: float) -> BaseDistribution:
    return IntDistribution(1, FLOAT_BITS) if type(value) is int else FloatDistribution(0.0, 1.0)


def _user_attributes(trial: Trial) -> dict[str, Any]:
    told: dict[str, Any] = {"number": trial.number, "role": trial.role, "note": trial.note}
    measured = trial.measurement
    if measured is None:
        return told | {"failure": trial.failure}
    return told | {
        "macs": measured.cost.macs,
        "parameters": measured.cost.parameters,
        "size_bytes": measured.cost.size_bytes,
        "accuracy": measured.accuracy,
        "cross_entropy": measured.cross_entropy,
        "images": measured.total,
        "fidelity": measured.fidelity,
        "evaluations": measured.evaluations,
    }
