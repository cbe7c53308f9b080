"""The picture of a job's report: what was measured, and where that stands in pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from automl_api.dashboard.fronts import searcher_of, unbeaten
from automl_api.dashboard.job_view import JobView
from automl_compress.core import METRICS
from automl_compress.store.points import Point

WIDTH, HEIGHT = 640, 320
LEFT, BOTTOM, RIGHT, TOP = 56, 40, 28, 12


@dataclass(frozen=True)
class Dot:
    """A measured policy; x and y in the picture's pixels.

    share: of the uncut network's cost that is kept.
    searcher: who asked for it; empty where it is confirmed.
    is_on_front: no other searched one is both cheaper and more accurate.
    """

    number: int
    cost: int
    share: float
    accuracy: float
    is_confirmed: bool
    searcher: str = ""
    is_on_front: bool = False
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels."""

    place: float
    label: str


@dataclass(frozen=True)
class Picture:
    """Accuracy against the share of the budgeted cost that is kept.

    dots: the confirmed ones, then the searched ones; each by rising cost.
    front: a path in steps along those that nothing beats.
    """

    dots: Sequence[Dot]
    front: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    budget_places: Sequence[float]


def picture_of(view: JobView, points: Sequence[Point]) -> Picture | None:
    """Place the search's policies and the confirmed ones; None before anything was measured."""
    study = view.job.study
    metric, full = study["budget"]["metric"], view.full.get(study["budget"]["metric"])
    if not full:
        return None
    # Those of before this cost was counted do not tell it.
    confirmed = [each for each in view.confirmed if metric in each["test"]["cost"]]
    told = [_confirmed(each, metric, full) for each in confirmed]
    searched = [
        Dot(
            number=each.number,
            cost=(cost := each.cost[METRICS.index(metric)]),
            share=cost / full,
            accuracy=each.accuracy,
            is_confirmed=False,
            searcher=searcher_of(study, each.note),
        )
        for each in points
    ]
    front = unbeaten([(each.cost, each.accuracy) for each in searched])
    told += [replace(dot, is_on_front=place in front) for place, dot in enumerate(searched)]
    if not told:
        return None
    lowest, highest = min(each.accuracy for each in told), max(each.accuracy for each in told)
    across = _Axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    up = _Axis(lowest, max(highest, lowest + 0.01), HEIGHT - BOTTOM, TOP)
    told.sort(key=lambda dot: (not dot.is_confirmed, dot.cost, -dot.accuracy))
    ratios = [study["budget"]["ratio"], *study.get("smaller_ratios", ())]
    dots = [replace(dot, x=across.place(dot.share), y=up.place(dot.accuracy)) for dot in told]
    return Picture(
        dots=dots,
        front=_steps([dot for dot in dots if dot.is_on_front]),
        x_ticks=[Tick(across.place(share / 5), f"{20 * share} %") for share in range(6)],
        y_ticks=[Tick(up.place(value), f"{100 * value:.1f} %") for value in up.steps(5)],
        budget_places=[across.place(ratio) for ratio in ratios],
    )


def _steps(front: Sequence[Dot]) -> str:
    """Write the path that keeps each height until the next one is reached."""
    start = f"M{front[0].x} {front[0].y}" if front else ""
    return start + "".join(f"H{dot.x}V{dot.y}" for dot in front[1:])


def _confirmed(policy: Mapping[str, Any], metric: str, full: int) -> Dot:
    cost: int = policy["test"]["cost"][metric]
    return Dot(
        number=policy["trial_number"],
        cost=cost,
        share=cost / full,
        accuracy=policy["test"]["accuracy"],
        is_confirmed=True,
    )


@dataclass(frozen=True)
class _Axis:
    """A linear scale."""

    lowest: float
    highest: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (value - self.lowest) / (self.highest - self.lowest)
        return round(self.start + share * (self.end - self.start), 1)

    def steps(self, count: int) -> list[float]:
        width = (self.highest - self.lowest) / (count - 1)
        return [self.lowest + place * width for place in range(count)]
