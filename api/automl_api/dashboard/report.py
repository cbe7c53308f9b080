"""`/v1/jobs/{id}/report.html`: a job as one file that can be sent to somebody."""

import base64
import hashlib
import json

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from automl_api.dashboard import STATIC_FOLDER
from automl_api.dashboard.job_view import Table, job_view
from automl_api.dashboard.rendering import render_text
from automl_api.dashboard.report_picture import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    picture_of,
)
from automl_api.service import ServiceDependency
from automl_compress.store import points

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@router.get("/report.html", response_class=HTMLResponse)
def get_report(job_id: str, service: ServiceDependency) -> Response:
    """Give the job as one self-contained page: no script, nothing loaded from anywhere."""
    with service.database.reading() as session:
        view = job_view(session, job_id, Table())
        found = points.points(session, job_id)
    style = (STATIC_FOLDER / "report.css").read_text()
    text = render_text(
        "report.html",
        view=view,
        style=style,
        study=json.dumps(view.job.study, indent=2),
        picture=picture_of(view, found),
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
