"""Trials that hang, eat memory or fail: they end alone, and the job says why when all do."""

import pytest

from automl_api.engine.preparation import trial_limits
from automl_api.settings import Settings
from automl_compress.core import Budget, Effort, Recipe, StudySpec, TrialState
from automl_compress.evaluate.limits import TrialLimits
from automl_compress.store import JobState
from tests.api.engine.conftest import Service, on_sqlite


@pytest.mark.slow
@pytest.mark.e2e
@on_sqlite
def test_trials_that_hang_or_eat_memory_are_killed_alone_and_the_job_goes_on(
    service: Service,
) -> None:
    worker = service.start_worker()
    limits = {"seconds": 6.0, "memory_bytes": 800_000_000}
    ill = {"2": "hangs", "4": "eats"}
    job_id = service.submit(evaluations=8, processes=1, limits=limits, ill=ill)

    service.wait_for_state(job_id, JobState.SUCCEEDED, seconds=240)

    trials = service.trials(job_id)
    assert [trial.number for trial in trials] == list(range(8))
    failed = {trial.number: trial for trial in trials if trial.state is TrialState.FAILED}
    assert sorted(failed) == [2, 4]
    assert "longer than its limit of 6 s and was killed" in str(failed[2].failure)
    assert "its limit is 800,000,000, and was killed" in str(failed[4].failure)
    assert worker.poll() is None
    told = {each.data["number"] for each in service.events(job_id) if each.kind == "trial.failed"}
    assert told == {2, 4}


@pytest.mark.slow
@pytest.mark.e2e
@on_sqlite
def test_a_job_whose_every_trial_fails_stops_early_and_says_why(service: Service) -> None:
    service.start_worker()
    ill = {str(number): "fails" for number in range(1000)}
    job_id = service.submit(evaluations=1000, processes=1, ill=ill)

    row = service.wait_for_state(job_id, JobState.FAILED, seconds=240)

    assert row.error is not None
    assert row.error["code"] == "invalid-model"
    why = "ValueError: 0a.npz: this policy divides by zero"
    assert f"all 5 trials failed; the last one: {why}" in row.error["detail"]
    assert row.trials_done == 5
    assert {trial.failure for trial in service.trials(job_id)} == {why}
    place = str(service.log.parent)
    assert place not in str([(row.error, each.data) for each in service.events(job_id)])
    assert f"{place}/data/files/0a.npz: this policy" in service.output(), "the log has it in full"


@pytest.mark.parametrize(
    ("effort", "settings", "expected"),
    [
        (Effort(1), {}, TrialLimits(seconds=90)),
        (Effort(1, trial_seconds=5), {}, TrialLimits(seconds=5)),
        (Effort(1, trial_seconds=5), {"trial_seconds": 4}, TrialLimits(seconds=4)),
        (Effort(1, trial_seconds=5), {"trial_seconds": 6}, TrialLimits(seconds=5)),
        (
            Effort(1, trial_memory_bytes=7),
            {"trial_memory_bytes": 8},
            TrialLimits(seconds=90, memory_bytes=7),
        ),
    ],
)
def test_the_lower_of_the_job_s_and_the_operator_s_limit_holds(
    effort: Effort, settings: dict[str, float], expected: TrialLimits
) -> None:
    study = StudySpec("random", Budget("macs", 0.5), effort)
    baseline = {"accuracy": 0.9, "total": 1000, "wall_seconds": 3.0}

    assert trial_limits(study, baseline, Settings(**settings)) == expected


def test_a_repair_that_trains_may_take_as_much_longer() -> None:
    recipe = Recipe(repair="distillation", calibration_images=2000)
    study = StudySpec("random", Budget("macs", 0.5), Effort(1), recipe=recipe)
    baseline = {"total": 1000, "wall_seconds": 3.0}

    assert trial_limits(study, baseline, Settings()) == TrialLimits(seconds=30 * 3 * (1 + 5 * 2))


def test_a_job_profiled_before_its_time_was_kept_has_no_time_limit() -> None:
    study = StudySpec("random", Budget("macs", 0.5), Effort(1))
    assert trial_limits(study, {"accuracy": 0.9}, Settings()) == TrialLimits()
