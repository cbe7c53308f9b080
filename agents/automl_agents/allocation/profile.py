"""The sensitivity profile: what each group's sparsity costs, with the others left whole.

Source: the per-layer curves at 0.1 ... 0.9 of the MicroNet Challenge 2019 winners (CASIA/RIAIR),
whose data base of single cuts SPDY (Frantar and Alistarh, ICML 2022) adds up. Ours are measured
on a subset of the images, asked as probes, and made monotone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from automl_agents.ledger import TrialLedger
from automl_compress.core import CompressionSpace, Measurement, SearchProblem, Suggestion, Trial

Measure = Literal["accuracy", "cross_entropy", "kl"]
#: isotonic: the measured curve, its noise pooled until it never falls. convex: its slope never
#: falls either, which smooths more.
Shape = Literal["isotonic", "convex"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

LEVELS, IMAGES = 9, 256
FEWEST_IMAGES = 32
PROFILE_SHARE = 1 / 3  # of the effort, where a search follows
_FEWER_LEVELS = (6, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Probe:
    """One group cut to `width` channels, the others at their largest; group None cuts nothing."""

    group: int | None
    width: int


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """Which probes make a profile, in the order in which they are asked.

    images: the first so many score each of them.
    """

    probes: tuple[Probe, ...]
    images: int


def plan_profile(
    problem: SearchProblem, evaluations: float, levels: int = LEVELS, images: int = IMAGES
) -> ProfilePlan:
    """Choose probes that an effort allows.

    Where `levels` sparsities of each group on `images` images are too much, there are fewer
    levels, down to 2; then fewer images, down to half; then one level at two thirds of the
    largest sparsity, and still fewer images, down to 32, whatever they cost.

    Args:
        problem: space, and what an evaluation costs.
        evaluations: what the profile may cost, in full proxy evaluations.
        levels: how many sparsities of each group, spread evenly up to the space's largest.
        images: how many images score a probe; no more than the problem has.
    """
    plan = ProfilePlan((), images)
    for count, size in _smaller_and_smaller(levels, min(images, problem.images)):
        plan = ProfilePlan(tuple(_probes(problem.space, count)), size)
        if len(plan.probes) * problem.evaluations(size) <= evaluations:
            break
    return plan


def _smaller_and_smaller(levels: int, images: int) -> Iterator[tuple[int, int]]:
    yield levels, images
    yield from ((fewer, images) for fewer in _FEWER_LEVELS if fewer < levels)
    fewest = min(FEWEST_IMAGES, images)
    images = max(images // 2, fewest)
    yield min(levels, 2), images
    while images > fewest:
        yield 1, images
        images = max(images // 2, fewest)
    yield 1, images


def _probes(space: CompressionSpace, levels: int) -> Iterator[Probe]:
    """Yield the uncut network, then level by level so that an early end leaves whole curves.

    Within a level from the last group to the first: the prefix of the network that two probes
    in a row leave uncut is then forwarded once.
    """
    yield Probe(None, 0)
    highest = space.options.max_sparsity
    sparsities = [highest * (k + 1) / levels for k in range(levels)] if levels > 1 else []
    seen: set[Probe] = set()
    for place in _spread(len(sparsities)) if sparsities else [0]:
        sparsity = sparsities[place] if sparsities else highest * 2 / 3
        widths = space.clip([1.0 - sparsity] * len(space.allowed))
        for group in reversed(range(len(widths))):
            probe = Probe(group, widths[group])
            if widths[group] < space.largest[group] and probe not in seen:
                seen.add(probe)
                yield probe


def _spread(count: int) -> list[int]:
    """Order 0 ... count - 1 so that each comes as far as possible from those before it."""
    order: list[int] = []
    while len(order) < count:
        rest = [place for place in range(count) if place not in order]
        # -1 stands for the uncut network, which is known.
        order.append(max(rest, key=lambda place: min(abs(place - each) for each in [*order, -1])))
    return order


@dataclass(frozen=True, slots=True)
class _Point:
    """What a probe measured; cross-entropy and KL may be missing."""

    accuracy: float
    cross_entropy: float | None
    kl: float | None


class SensitivityProfile:
    """Asks its probes, collects what they measured, and gives curves over every allowed width.

    Curves can be had at any time. Levels that failed, or have not come back, are interpolated;
    a group without any takes the mean curve of the others; with no measurement at all a curve
    is the square of the sparsity.
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
        widths = list(self.space.largest)
        note = "profile: nothing cut"
        if probe.group is not None:
            widths[probe.group] = probe.width
            group = self.space.graph.groups[probe.group]
            note = f"profile: {group.name} alone, {probe.width} of {group.channels} channels"
        suggestion = ledger.suggest(self.space.policy(widths), note, "probe", self.plan.images)
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
        """Return the loss of each group at each of its allowed widths.

        Args:
            measure: drop in accuracy (a fraction), rise in cross-entropy, or KL divergence
                from the uncut network (both in nats).
            shape: what is taken from the measured points.

        Returns:
            An array for each group, aligned with `space.allowed`: at least 0, 0 at the largest
            width, never rising with the width.
        """
        if (measure, shape) not in self._curves:
            known = self._interpolators(measure, shape)
            self._curves[measure, shape] = [
                _losses(known.get(group), list(known.values()), self._sparsities(group))
                for group in range(len(self.space.allowed))
            ]
        return self._curves[measure, shape]

    def _sparsities(self, group: int) -> np.ndarray:
        """Return the sparsity, relative to the largest allowed width, of each allowed width."""
        return 1.0 - np.asarray(self.space.allowed[group]) / self.space.largest[group]

    def _interpolators(self, measure: Measure, shape: Shape) -> dict[int, PchipInterpolator]:
        base = self._base(measure)
        sign = -1.0 if measure == "accuracy" else 1.0
        found: dict[int, dict[float, float]] = {}
        for place, point in self._points.items():
            probe, value = self.plan.probes[place], getattr(point, measure)
            if probe.group is not None and value is not None:
                sparsity = 1.0 - probe.width / self.space.largest[probe.group]
                found.setdefault(probe.group, {})[sparsity] = max(sign * (value - base), 0.0)
        return {
            group: _interpolator(found[group], float(self._sparsities(group)[0]), shape)
            for group in sorted(found)
        }

    def _base(self, measure: Measure) -> float:
        """Return the uncut network's value; the best one seen where that probe failed."""
        points = [self._points[0]] if 0 in self._points else list(self._points.values())
        values = [value for point in points if (value := getattr(point, measure)) is not None]
        best = max if measure == "accuracy" else min
        return best(values, default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return {
            "images": self.plan.images,
            "probes": [[probe.group, probe.width] for probe in self.plan.probes],
            "asked": self._asked,
            "waiting": [[number, place] for number, place in self._waiting.items()],
            "points": [
                [place, point.accuracy, point.cross_entropy, point.kl]
                for place, point in self._points.items()
            ],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        probes = tuple(Probe(group, width) for group, width in content["probes"])
        self.plan = ProfilePlan(probes, int(content["images"]))
        self._asked, self._curves = int(content["asked"]), {}
        self._waiting = {int(number): int(place) for number, place in content["waiting"]}
        self._points = {int(place): _Point(*values) for place, *values in content["points"]}


def _point(measurement: Measurement) -> _Point:
    return _Point(measurement.accuracy, measurement.cross_entropy, measurement.kl)


def _interpolator(points: Mapping[float, float], end: float, shape: Shape) -> PchipInterpolator:
    """Return the monotone curve through (0, 0) and the pooled points, up to sparsity `end`."""
    sparsities = np.array([0.0, *sorted(points)])
    pooled = isotonic_regression([points[each] for each in sorted(points)]).x
    losses = np.array([0.0, *pooled])
    if shape == "convex":
        steps = np.diff(sparsities)
        slopes = isotonic_regression(np.diff(losses) / steps, weights=steps).x
        losses = np.array([0.0, *np.cumsum(slopes * steps)])
    if sparsities[-1] < end - 1e-9:
        # Beyond what was measured a loss grows with the square of the sparsity, or on as it did.
        last, slope = sparsities[-1], (losses[-1] - losses[-2]) / (sparsities[-1] - sparsities[-2])
        beyond = max(losses[-1] * (end / last) ** 2, losses[-1] + slope * (end - last))
        sparsities, losses = np.append(sparsities, end), np.append(losses, beyond)
    return PchipInterpolator(sparsities, losses)


def _losses(
    own: PchipInterpolator | None, others: Sequence[PchipInterpolator], sparsities: np.ndarray
) -> np.ndarray:
    if own is not None:
        losses = _at(own, sparsities)
    elif others:
        losses = np.mean([_at(each, sparsities) for each in others], axis=0)
    else:
        losses = sparsities**2
    return np.maximum.accumulate(np.maximum(losses, 0.0)[::-1])[::-1]


def _at(curve: PchipInterpolator, sparsities: np.ndarray) -> np.ndarray:
    # Another group's curve may end earlier; a polynomial is not trusted behind its last knot.
    return curve(np.minimum(sparsities, curve.x[-1]))
