import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from automl_compress.core import Choice, Cost, Measurement, Policy, Suggestion
from automl_compress.store import SqlTrialStore
from tests.api.conftest import RunningService, job_body
from tests.api.test_cli import run
from tests.fakes import measurement_of

pytestmark = pytest.mark.e2e


def measured(score: float) -> Measurement:
    return measurement_of(Cost(50, 40, 160, 50 * 1024), score)


def suggestion(number: int, **fields: Any) -> Suggestion:
    policy = Policy((Choice("conv1", number / 10), Choice("layer1.0.conv1", 0.5)))
    return Suggestion(number, policy, f"note {number}", **fields)


@pytest.fixture
def job_id(service: RunningService, model: dict[str, Any], dataset: dict[str, Any]) -> str:
    """A job with two candidates, a probe, a subset, a failure, and a trial that runs."""
    body = job_body(model, dataset) | {"name": "half"}
    identity = service.post("/v1/jobs", body).json()["id"]
    store = SqlTrialStore(service.database, identity)
    told = [
        suggestion(0).complete(measured(0.8)),
        suggestion(1).complete(measured(0.9)),
        suggestion(2, role="probe").complete(measured(0.99)),
        suggestion(3, images=10).complete(replace(measured(1.0), fidelity="subset")),
        suggestion(4).failed("made up"),
    ]
    for trial in told:
        store.asked(trial.suggestion)
        store.told(trial)
    store.asked(suggestion(5))
    return identity


def load(path: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


def test_a_job_becomes_a_study_that_optuna_reads(
    service: RunningService, job_id: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.log"

    told = run("export", job_id, "--optuna", str(path), url=service.url)

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"wrote 5 trials to {path}")
    assert [each.name for each in tmp_path.iterdir()] == ["study.log"]
    study = load(path)
    assert study.study_name == f"half ({job_id})"
    assert study.user_attrs["study"]["budget"] == {"metric": "macs", "ratio": 0.5}
    complete, pruned = TrialState.COMPLETE, TrialState.PRUNED
    states = [complete, complete, pruned, pruned, TrialState.FAIL]
    assert [each.state for each in study.trials] == states
    best = study.best_trial  # neither the probe nor the subset
    assert (best.number, best.value) == (1, 0.9)
    assert best.params == {"conv1": 0.1, "layer1.0.conv1": 0.5}
    assert best.datetime_start is not None
    assert best.datetime_complete is not None
    assert best.datetime_complete >= best.datetime_start
    expected = {"macs": 50, "accuracy": 0.9, "role": "candidate", "note": "note 1"}
    assert expected.items() <= best.user_attrs.items()
    assert study.trials[2].user_attrs["role"] == "probe"
    assert study.trials[3].user_attrs["fidelity"] == "subset"
    assert study.trials[4].user_attrs["failure"] == "made up"


def test_a_file_that_exists_is_replaced_by_force_alone(
    service: RunningService, job_id: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.log"
    path.write_text("mine")

    refused = run("export", job_id, "--optuna", str(path), url=service.url)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert path.read_text() == "mine"

    forced = run("export", job_id, "--optuna", str(path), "--force", "--json", url=service.url)
    assert json.loads(forced.stdout)["trials"] == 5
    assert len(load(path).trials) == 5


def test_a_folder_that_is_not_there_is_said(
    service: RunningService, job_id: str, tmp_path: Path
) -> None:
    told = run("export", job_id, "--optuna", str(tmp_path / "no" / "x.log"), url=service.url)

    assert told.returncode == 1
    assert "cannot be written" in told.stderr
