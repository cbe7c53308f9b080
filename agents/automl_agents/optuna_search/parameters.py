"""The decisions that a search varies, as Optuna's parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import Trial

from automl_agents.decisions import open_decisions
from automl_compress.core import CompressionSpace, Metric

Distribution = FloatDistribution | IntDistribution
Values = Mapping[str, float]


class Parameters:
    """Translates between settings and named parameters of the open decisions.

    The share of a width or of a density is a float; bits are integers, the place among those
    that are allowed, from 1. Decisions that are not open have their largest value, and no
    parameter.

    distributions: of each open decision's parameter, by the decision's name, in the space's
        order.
    """

    def __init__(self, space: CompressionSpace, metric: Metric) -> None:
        """Find the open decisions."""
        self._space = space
        self._open = open_decisions(space, metric)
        self._closed = space.shares(space.largest)  # (D,)
        self.distributions: dict[str, Distribution] = {}
        lowest, highest = space.shares(space.smallest), space.shares(space.largest)
        for place in self._open:
            decision = space.decisions[place]
            if decision.is_ordinal:
                limits = IntDistribution(1, len(decision.allowed))
            else:
                limits = FloatDistribution(float(lowest[place]), float(highest[place]))
            self.distributions[decision.name] = limits

    def suggest(self, trial: Trial) -> None:
        """Let a trial draw every parameter."""
        for name, limits in self.distributions.items():
            if isinstance(limits, IntDistribution):
                trial.suggest_int(name, limits.low, limits.high)
            else:
                trial.suggest_float(name, limits.low, limits.high)

    def of_setting(self, setting: Sequence[int]) -> dict[str, float]:
        """Return the parameters of a setting."""
        shares = self._space.shares(setting)[self._open]
        found = zip(self.distributions.items(), shares.tolist(), strict=True)
        return {name: _from_share(share, limits) for (name, limits), share in found}

    def of_numbers(self, numbers: Sequence[float]) -> dict[str, float]:
        """Return the parameters whose values these are, in order."""
        found = zip(self.distributions.items(), numbers, strict=True)
        return {
            name: round(number) if isinstance(limits, IntDistribution) else number
            for (name, limits), number in found
        }

    def shares(self, values: Values) -> list[float]:
        """Return the share of every decision, (D,)."""
        shares = self._closed.copy()
        shares[self._open] = [
            values[name] / (limits.high if isinstance(limits, IntDistribution) else 1)
            for name, limits in self.distributions.items()
        ]
        return shares.tolist()

    def rescaled(self, values: Values, like: Values) -> dict[str, float]:
        """Return the values with their shares at the scale of others, as far as ranges allow."""
        floats = [
            n for n, each in self.distributions.items() if isinstance(each, FloatDistribution)
        ]
        found = dict(values)
        if floats and like:
            scale = np.hypot.reduce([like[n] for n in floats])
            scale /= np.hypot.reduce([values[n] for n in floats])
            for name in floats:
                limits = self.distributions[name]
                found[name] = min(max(float(scale * values[name]), limits.low), limits.high)
        return found


def _from_share(share: float, limits: Distribution) -> float:
    return round(share * limits.high) if isinstance(limits, IntDistribution) else share
