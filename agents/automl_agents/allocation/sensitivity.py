"""The sensitivity rule: each group loses as much as a common drop in quality allows."""

from collections.abc import Sequence

import numpy as np

from automl_agents.allocation.candidates import CandidateList
from automl_agents.allocation.config import SensitivityConfig
from automl_agents.allocation.growth import grown
from automl_agents.allocation.profile import (
    MEASURES,
    Measure,
    SensitivityProfile,
    Shape,
    plan_profile,
)
from automl_agents.ledger import TrialLedger
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
    """Profiles every group, then cuts each as far as one threshold on its curve allows.

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
        self._ledger = TrialLedger()
        self._candidates = CandidateList(problem.space)
        self._candidates.add(problem.space.uniform(problem.budget), "one keep ratio everywhere")
        share = config.profile_share * problem.effort.evaluations
        plan = plan_profile(problem, share, config.levels, config.profile_images)
        self._profile = SensitivityProfile(problem.space, plan)
        self._rules_used = 0

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        if self._candidates.has_new or self._profile.is_asked:
            self._add_candidate()
            return self._candidates.ask(self._ledger)
        return self._profile.ask(self._ledger)

    def _add_candidate(self) -> None:
        while not self._candidates.has_new and self._rules_used < len(RULES):
            measure, shape = RULES[self._rules_used]
            self._rules_used += 1
            curves = self._profile.curves(measure, shape)
            widths = threshold_widths(self._problem.space, self._problem.budget, curves)
            self._candidates.add(widths, f"one threshold on the {shape} curves of {measure}")

    def tell(self, trial: Trial) -> None:
        """Take a probe into the profile, or compare a candidate.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        if not self._profile.tell(trial):
            self._candidates.tell(trial)

    def snapshot(self) -> Snapshot:
        """Return profile, candidates and counts."""
        return Snapshot(
            {
                "ledger": self._ledger.to_json(),
                "profile": self._profile.to_json(),
                "candidates": self._candidates.to_json(),
                "rules_used": self._rules_used,
            }
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        values = snapshot.values
        self._ledger.restore(values["ledger"])
        self._profile.restore(values["profile"])
        self._candidates.restore(values["candidates"])
        self._rules_used = int(values["rules_used"])


def threshold_widths(
    space: CompressionSpace, budget: Budget, losses: Sequence[np.ndarray]
) -> tuple[int, ...]:
    """Return the widths of the smallest threshold on the loss that meets the budget.

    Each group takes its smallest width of a loss up to the threshold; what that leaves unused
    goes to single groups, those of the largest loss first.

    Args:
        space: with its allowed widths.
        budget: reachable in the space.
        losses: of each group at each of its allowed widths, never rising with the width.
    """

    def widths(threshold: float) -> list[int]:
        return [
            allowed[int(np.argmax(loss <= threshold))]
            for allowed, loss in zip(space.allowed, losses, strict=True)
        ]

    thresholds = np.unique(np.concatenate([np.asarray(loss) for loss in losses]))
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if space.within(widths(thresholds[middle]), budget):
            high = middle
        else:
            low = middle + 1

    def loss_at(group: int, width: int) -> float:
        return float(losses[group][space.allowed[group].index(width)])

    return grown(space, budget, widths(thresholds[low]), loss_at)
