"""A stand-in for a network some of whose filters are dead."""

import numpy as np

from automl_compress.core import Measurement, Policy, SearchProblem
from tests.fakes import IMAGES, measurement_of


class FilterEvaluator:
    """Accuracy is the share of the filters' worth that is kept; half of them are dead.

    Where a policy leaves the choice to the criterion, the first filters are kept.
    """

    def __init__(self, problem: SearchProblem, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.space = problem.space
        self.worth = []
        for channels in problem.space.graph.full_widths:
            worth = rng.random(channels) * (rng.random(channels) > 1 / 2)
            self.worth.append(worth)
        self.total = sum(float(each.sum()) for each in self.worth)

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        start, stop, _ = (images or slice(None)).indices(IMAGES)
        kept = 0.0
        widths = policy.widths(self.space.graph)
        for choice, worth, width in zip(policy.choices, self.worth, widths, strict=True):
            kept += float(worth[list(choice.kept or range(width))].sum())
        cost = self.space.costs.cost(widths)
        part = (stop - start) / IMAGES
        return measurement_of(cost, kept / self.total, part, total=stop - start)

    def dead_share(self, policy: Policy) -> float:
        kept = [
            worth[list(choice.kept or range(len(worth)))]
            for choice, worth in zip(policy.choices, self.worth, strict=True)
        ]
        return float(np.mean(np.concatenate(kept) == 0.0))
