"""Small trials for tests."""

from automl_compress.core import (
    Choice,
    Cost,
    Measurement,
    Policy,
    Recipe,
    Suggestion,
    Trial,
    TrialState,
)


def suggestion(number: int, sparsity: float = 0.5) -> Suggestion:
    return Suggestion(number, Policy((Choice("conv1", sparsity),)), note=f"try {number}")


def complete(asked: Suggestion, score: float = 0.5) -> Trial:
    measurement = Measurement(
        cost=Cost(1000, 100, 400, 1024),
        score=score,
        correct=5,
        total=10,
        cross_entropy=1.0,
        kl=None,
        split="search: test.parquet rows 0-9",
        fidelity="proxy",
        recipe=Recipe(),
        seed=0,
        evaluations=1.0,
        wall_seconds=0.1,
        cpu_seconds=0.1,
    )
    return Trial(asked.number, asked.policy, TrialState.COMPLETE, measurement, note=asked.note)


def failed(asked: Suggestion) -> Trial:
    return Trial(asked.number, asked.policy, TrialState.FAILED, failure="the process died")
