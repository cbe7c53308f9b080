"""From what an executor returned to a trial."""

import math
from dataclasses import replace

import numpy as np

from automl_compress.core import (
    Budget,
    CompressionSpace,
    Measurement,
    Outcome,
    Recall,
    Recalled,
    Suggestion,
    Trial,
)
from automl_compress.core.hits import pack_hits, unpack_hits


def recall_nothing(suggestion: Suggestion, first_image: int) -> Recalled | None:
    """Know of no other study."""
    return None


def answer(
    suggestion: Suggestion, earlier: tuple[int, Measurement] | None, recall: Recall
) -> Trial | None:
    """Answer a suggestion from what is stored; None where it has to be evaluated.

    Args:
        suggestion: what was asked.
        earlier: number and measurement of this study's trial of most images of this policy.
        recall: looks into other studies.
    """
    if earlier is not None and answers(earlier[1], suggestion):
        return answered_by(suggestion, f"trial {earlier[0]}", earlier[1])
    found = recall(suggestion, 0 if earlier is None else earlier[1].total)
    if found is None:
        return None
    return answered_by(suggestion, found.source, found.measurement)


def answered_by(suggestion: Suggestion, source: str, measurement: Measurement) -> Trial:
    """Answer a policy with what was measured before; source says where.

    It counts as what was asked for, whoever computed it first, but took no time.
    """
    share = 1.0 if suggestion.images is None else min(suggestion.images / measurement.total, 1.0)
    note = f"{suggestion.note}; measured in {source}".removeprefix("; ")
    untimed = replace(
        measurement,
        evaluations=share * measurement.evaluations,
        wall_seconds=0.0,
        cpu_seconds=0.0,
        forward_cpu_seconds=0.0,
    )
    return replace(suggestion, note=note).complete(untimed)


def answers(measurement: Measurement, suggestion: Suggestion) -> bool:
    """Say whether a measurement of the suggested policy used the images that are asked for."""
    if suggestion.images is None:
        return measurement.fidelity == "proxy"
    return measurement.total >= suggestion.images or measurement.fidelity == "proxy"


def joined(earlier: Measurement, rest: Measurement, is_whole: bool) -> Measurement:
    """Put together what two disjoint parts of the images gave, the earlier ones first.

    Effort and time are those of the rest: the earlier part counted in its own trial.
    """
    correct, total = earlier.correct + rest.correct, earlier.total + rest.total

    def mean(first: float | None, second: float | None) -> float | None:
        if first is None or second is None:
            return None
        return (first * earlier.total + second * rest.total) / total

    cross_entropy = mean(earlier.cross_entropy, rest.cross_entropy)
    kl = mean(earlier.kl, rest.kl)
    hits = ""
    if earlier.hits and rest.hits:
        parts = (unpack_hits(each.hits, each.total) for each in (earlier, rest))
        hits = pack_hits(np.concatenate(list(parts)))
    return replace(
        rest,
        score=rest.recipe.score(correct / total, cross_entropy, kl),
        correct=correct,
        total=total,
        cross_entropy=cross_entropy,
        kl=kl,
        hits=hits,
        fidelity="proxy" if is_whole else "subset",
    )


def finished(
    suggestion: Suggestion, outcome: Outcome, space: CompressionSpace, budget: Budget
) -> Trial:
    """Make the trial of an outcome; a candidate whose measured cost is over the budget failed."""
    measurement, failure = outcome.measurement, outcome.failure
    is_candidate = suggestion.role == "candidate"
    if measurement and is_candidate and not budget.allows(measurement.cost, space.full):
        failure = (
            f"the cut network costs {measurement.cost.of(budget.metric):,} {budget.metric}, "
            f"the budget allows {budget.limit(space.full):,}; its analytic cost was within: "
            "report this network"
        )
    elif measurement is not None and not math.isfinite(measurement.score):
        failure = f"the score is {measurement.score}; the network's outputs are not finite"
    if failure is None and measurement is not None:
        return suggestion.complete(measurement)
    return suggestion.failed(failure or "the executor gave neither a measurement nor a reason")
