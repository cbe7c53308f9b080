"""`/v1/jobs/{id}/report.html`: a job as one file that can be sent to somebody."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from automl_api.dashboard import STATIC_FOLDER
from automl_api.dashboard.job_view import JobView, Table, job_view
from automl_api.dashboard.rendering import render_text
from automl_api.service import ServiceDependency
from automl_compress.store import browsing

WIDTH, HEIGHT = 640, 320
LEFT, BOTTOM, RIGHT, TOP = 56, 40, 28, 12

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@dataclass(frozen=True)
class Dot:
    """A measured policy in the picture; x and y in its pixels."""

    x: float
    y: float
    label: str
    is_confirmed: bool


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels."""

    place: float
    label: str


@dataclass(frozen=True)
class Picture:
    """Accuracy against the share of the budgeted cost that is kept."""

    dots: Sequence[Dot]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    budget_place: float


@router.get("/report.html", response_class=HTMLResponse)
def get_report(job_id: str, service: ServiceDependency) -> Response:
    """Give the job as one self-contained page: no script, nothing loaded from anywhere."""
    with service.database.reading() as session:
        view = job_view(session, job_id, Table())
        points = [
            (number, measured["cost"], float(measured["accuracy"]))
            for number, measured in browsing.finished_candidates(session, job_id)
        ]
    style = (STATIC_FOLDER / "report.css").read_text()
    text = render_text(
        "report.html",
        view=view,
        style=style,
        study=json.dumps(view.job.study, indent=2),
        picture=_picture(view, points),
        size=(WIDTH, HEIGHT),
        frame=(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(text, headers=headers)


def _picture(view: JobView, points: Sequence[tuple[int, dict[str, int], float]]) -> Picture | None:
    """Place the search's policies and the confirmed ones; None before anything was measured."""
    budget = view.job.study["budget"]
    metric, full = budget["metric"], view.full.get(budget["metric"])
    if not full:
        return None
    told = [(cost[metric] / full, score, f"trial {n}", False) for n, cost, score in points]
    told += [
        (
            each["test"]["cost"][metric] / full,
            each["test"]["accuracy"],
            f"trial {each['trial_number']}, confirmed",
            True,
        )
        for each in view.confirmed
    ]
    if not told:
        return None
    lowest = min(score for _, score, _, _ in told)
    highest = max(score for _, score, _, _ in told)
    across = _Axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    up = _Axis(lowest, max(highest, lowest + 0.01), HEIGHT - BOTTOM, TOP)
    return Picture(
        dots=[Dot(across.place(x), up.place(y), label, done) for x, y, label, done in told],
        x_ticks=[Tick(across.place(share / 5), f"{20 * share} %") for share in range(6)],
        y_ticks=[Tick(up.place(value), f"{100 * value:.1f} %") for value in up.steps(5)],
        budget_place=across.place(budget["ratio"]),
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
