"""From what an executor returned to a trial."""

import math
from dataclasses import replace

from automl_compress.core import (
    Budget,
    CompressionSpace,
    Measurement,
    Outcome,
    Suggestion,
    Trial,
    TrialState,
)


def answered_by(suggestion: Suggestion, number: int, measurement: Measurement) -> Trial:
    """Answer a policy from the trial that measured it before.

    It counts as an evaluation, whoever computed it first, but took no time.
    """
    note = f"{suggestion.note}; measured in trial {number}".removeprefix("; ")
    answer = replace(measurement, wall_seconds=0.0, cpu_seconds=0.0)
    return Trial(suggestion.number, suggestion.policy, TrialState.COMPLETE, answer, note=note)


def finished(
    suggestion: Suggestion, outcome: Outcome, space: CompressionSpace, budget: Budget
) -> Trial:
    """Make the trial of an outcome; one whose measured cost is over the budget has failed."""
    number, policy, note = suggestion.number, suggestion.policy, suggestion.note
    measurement, failure = outcome.measurement, outcome.failure
    if measurement is not None and not budget.allows(measurement.cost, space.full):
        failure = (
            f"the cut network costs {measurement.cost.of(budget.metric):,} {budget.metric}, "
            f"the budget allows {budget.limit(space.full):,}; its analytic cost was within: "
            "report this network"
        )
    elif measurement is not None and not math.isfinite(measurement.score):
        failure = f"the score is {measurement.score}; the network's outputs are not finite"
    if failure is None and measurement is not None:
        return Trial(number, policy, TrialState.COMPLETE, measurement, note=note)
    reason = failure or "the executor gave neither a measurement nor a reason"
    return Trial(number, policy, TrialState.FAILED, failure=reason, note=note)
