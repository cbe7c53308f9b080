"""Small trials for tests."""

from dataclasses import replace

from automl_compress.core import (
    Choice,
    Cost,
    Policy,
    Suggestion,
    Trial,
    TrialState,
)
from tests.fakes import measurement_of


def suggestion(number: int, sparsity: float = 0.5) -> Suggestion:
    return Suggestion(number, Policy((Choice("conv1", sparsity),)), note=f"try {number}")


def complete(asked: Suggestion, score: float = 0.5) -> Trial:
    made_up = measurement_of(Cost(1000, 100, 400, 1024), score)
    measurement = replace(made_up, correct=5, total=10)
    return Trial(asked.number, asked.policy, TrialState.COMPLETE, measurement, note=asked.note)


def failed(asked: Suggestion) -> Trial:
    return Trial(asked.number, asked.policy, TrialState.FAILED, failure="the process died")
