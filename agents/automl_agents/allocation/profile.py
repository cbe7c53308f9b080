"""The sensitivity profile: what each decision's values cost, with the others at their largest.

Source: the per-layer curves at 0.1 ... 0.9 of the MicroNet Challenge 2019 winners (CASIA/RIAIR),
whose data base of single cuts SPDY (Frantar and Alistarh, ICML 2022) adds up. Ours are measured
on a subset of the images, asked as probes, and made monotone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from automl_agents.allocation.loss_curves import (
    Curve,
    Shape,
    assumed_curve,
    measured_curve,
    positions,
)
from automl_agents.allocation.profile_plan import Probe, ProfilePlan
from automl_agents.decisions import worded
from automl_agents.ledger import TrialLedger
from automl_compress.core import CompressionSpace, Measurement, Suggestion, Trial

Measure = Literal["accuracy", "cross_entropy", "kl"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True, slots=True)
class _Point:
    """What a probe measured; cross-entropy and KL may be missing."""

    accuracy: float
    cross_entropy: float | None
    kl: float | None


class SensitivityProfile:
    """Asks its probes, collects what they measured, and gives curves over every allowed value.

    Curves can be had at any time. Levels that failed, or have not come back, are interpolated;
    a decision without any takes the mean curve of the others of its kind; a kind without any
    measurement has curves of an assumed form (`loss_curves.assumed_curve`).
    """

    def __init__(self, space: CompressionSpace, plan: ProfilePlan) -> None:
        """Begin with nothing asked."""
        self.space, self.plan = space, plan
        self._asked = 0
        self._waiting: dict[int, int] = {}  # trial number -> place of its probe
        self._points: dict[int, _Point] = {}  # place of a probe -> what it measured
        self._curves: dict[tuple[Measure, Shape], list[np.ndarray]] = {}  # since the last tell

    @property
    def is_asked(self) -> bool:
        """Whether every probe was asked."""
        return self._asked == len(self.plan.probes)

    @property
    def is_complete(self) -> bool:
        """Whether every probe was asked and told."""
        return self.is_asked and not self._waiting

    def ask(self, ledger: TrialLedger) -> Suggestion:
        """Ask the next probe under the ledger's next number; `is_asked` must be false."""
        probe = self.plan.probes[self._asked]
        setting = list(self.space.largest)
        note = "profile: every decision at its largest"
        if probe.decision is not None:
            setting[probe.decision] = probe.value
            decision = self.space.decisions[probe.decision]
            note = f"profile: {decision.target} alone, {worded(decision, probe.value)}"
        suggestion = ledger.suggest(self.space.policy(setting), note, "probe", self.plan.images)
        self._waiting[suggestion.number] = self._asked
        self._asked += 1
        return suggestion

    def tell(self, trial: Trial) -> bool:
        """Take a settled trial; return whether it was one of the probes."""
        place = self._waiting.pop(trial.number, None)
        if place is None:
            return False
        self._curves = {}
        if trial.measurement is not None:
            self._points[place] = _point(trial.measurement)
        return True

    def curves(self, measure: Measure, shape: Shape = "isotonic") -> list[np.ndarray]:
        """Return the loss of each decision at each of its allowed values.

        Args:
            measure: drop in accuracy (a fraction), rise in cross-entropy, or KL divergence
                from the uncut network (both in nats); all against the largest setting.
            shape: what is taken from the measured points.

        Returns:
            An array for each decision, aligned with `space.allowed`: at least 0, 0 at the
            largest value, never rising with the value.
        """
        if (measure, shape) not in self._curves:
            known = self._measured_curves(measure, shape)
            self._curves[measure, shape] = [
                self._losses(place, known) for place in range(len(self.space.decisions))
            ]
        return self._curves[measure, shape]

    def _measured_curves(self, measure: Measure, shape: Shape) -> dict[int, Curve]:
        base = self._base(measure)
        sign = -1.0 if measure == "accuracy" else 1.0
        found: dict[int, dict[int, float]] = {}
        for number, point in self._points.items():
            probe, value = self.plan.probes[number], getattr(point, measure)
            if probe.decision is not None and value is not None:
                losses = found.setdefault(probe.decision, {})
                losses[probe.value] = max(sign * (value - base), 0.0)
        return {
            place: measured_curve(self.space.decisions[place], found[place], shape)
            for place in sorted(found)
        }

    def _losses(self, place: int, known: Mapping[int, Curve]) -> np.ndarray:
        decision = self.space.decisions[place]
        if len(decision.allowed) == 1:
            return np.zeros(1)
        where, kin = positions(decision), self._of_kind(decision.kind, known)
        if place in known:
            losses = known[place](where)
        elif kin:
            losses = np.mean([curve(where) for curve in kin], axis=0)
        else:
            losses = assumed_curve(decision, self._scale(known))(where)
        losses = np.maximum.accumulate(np.maximum(losses, 0.0)[::-1])[::-1]
        return losses - losses[-1]

    def _of_kind(self, kind: str, known: Mapping[int, Curve]) -> list[Curve]:
        return [curve for place, curve in known.items() if self.space.decisions[place].kind == kind]

    def _scale(self, known: Mapping[int, Curve]) -> float:
        """Return the mean loss at the smallest values of what was measured; 1 of nothing."""
        ends = [
            float(curve(positions(self.space.decisions[place])[:1])[0])
            for place, curve in known.items()
        ]
        return float(np.mean(ends)) if ends else 1.0

    def _base(self, measure: Measure) -> float:
        """Return the value of the largest setting; the best one seen where that probe failed."""
        points = [self._points[0]] if 0 in self._points else list(self._points.values())
        values = [value for point in points if (value := getattr(point, measure)) is not None]
        best = max if measure == "accuracy" else min
        return best(values, default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return {
            "images": self.plan.images,
            "probes": [[probe.decision, probe.value] for probe in self.plan.probes],
            "asked": self._asked,
            "waiting": [[number, place] for number, place in self._waiting.items()],
            "points": [
                [place, point.accuracy, point.cross_entropy, point.kl]
                for place, point in self._points.items()
            ],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        probes = tuple(Probe(place, value) for place, value in content["probes"])
        self.plan = ProfilePlan(probes, int(content["images"]))
        self._asked, self._curves = int(content["asked"]), {}
        self._waiting = {int(number): int(place) for number, place in content["waiting"]}
        self._points = {int(place): _Point(*values) for place, *values in content["points"]}


def _point(measurement: Measurement) -> _Point:
    return _Point(measurement.accuracy, measurement.cross_entropy, measurement.kl)
