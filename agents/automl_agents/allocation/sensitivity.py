"""The sensitivity rule: each decision loses as much as a common drop in quality allows."""

from collections.abc import Sequence

import numpy as np

from automl_agents.allocation.config import SensitivityConfig
from automl_agents.allocation.growth import grown
from automl_agents.allocation.loss_curves import Shape
from automl_agents.allocation.profile import MEASURES, Measure
from automl_agents.allocation.profiled import ProfiledCandidates
from automl_compress.core import (
    Budget,
    CompressionSpace,
    SearchProblem,
    Snapshot,
    Suggestion,
    Trial,
)

#: What the curves are made of, the most telling first.
RULES: tuple[tuple[Measure, Shape], ...] = tuple(
    (measure, shape) for shape in ("isotonic", "convex") for measure in reversed(MEASURES)
)


class SensitivitySearcher:
    """Profiles every decision, then lowers each as far as one threshold on its curve allows.

    It asks, in this order: the uniform policy; the profile; the thresholds on KL, cross-entropy
    and accuracy, on the pooled and on the convex curves, as far as they differ; then nothing
    new, but the best of these again.

    Source: the per-layer sensitivities of the MicroNet Challenge 2019 winners (CASIA/RIAIR),
    who chose ratios by hand; here the threshold is bisected to the budget.
    """

    def __init__(self, problem: SearchProblem, config: SensitivityConfig) -> None:
        """Plan the profile.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._problem = problem
        self._state = ProfiledCandidates(problem, config)
        uniform = problem.space.uniform(problem.budget)
        self._state.candidates.add(uniform, "one share everywhere")
        self._rules_used = 0

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        if self._state.candidates.has_new or self._state.profile.is_asked:
            self._add_candidate()
            return self._state.candidate()
        return self._state.probe()

    def _add_candidate(self) -> None:
        while not self._state.candidates.has_new and self._rules_used < len(RULES):
            measure, shape = RULES[self._rules_used]
            self._rules_used += 1
            curves = self._state.profile.curves(measure, shape)
            setting = threshold_setting(self._problem.space, self._problem.budget, curves)
            note = f"one threshold on the {shape} curves of {measure}"
            self._state.candidates.add(setting, note)

    def tell(self, trial: Trial) -> None:
        """Take a probe into the profile, or compare a candidate.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._state.tell(trial)

    def snapshot(self) -> Snapshot:
        """Return profile, candidates and counts."""
        return Snapshot({**self._state.to_json(), "rules_used": self._rules_used})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        self._state.restore(snapshot.values)
        self._rules_used = int(snapshot.values["rules_used"])


def threshold_setting(
    space: CompressionSpace, budget: Budget, losses: Sequence[np.ndarray]
) -> tuple[int, ...]:
    """Return the setting of the smallest threshold on the loss that meets the budget.

    Each decision takes its smallest value of a loss up to the threshold; what that leaves
    unused goes to single decisions, those of the largest loss first.

    Args:
        space: with its allowed values.
        budget: reachable in the space.
        losses: of each decision at each of its allowed values, never rising with the value.
    """

    def setting(threshold: float) -> list[int]:
        return [
            allowed[int(np.argmax(loss <= threshold))]
            for allowed, loss in zip(space.allowed, losses, strict=True)
        ]

    thresholds = np.unique(np.concatenate([np.asarray(loss) for loss in losses]))
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if space.within(setting(thresholds[middle]), budget):
            high = middle
        else:
            low = middle + 1

    def loss_at(place: int, value: int) -> float:
        return float(losses[place][space.allowed[place].index(value)])

    return grown(space, budget, setting(thresholds[low]), loss_at)
