"""`/v1/jobs/{id}/report.html`: a job as one file that can be sent to somebody."""

import base64
import hashlib

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from automl_api.dashboard.report_file import report_of_job, stylesheet
from automl_api.service import ServiceDependency

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@router.get("/report.html", response_class=HTMLResponse)
def get_report(job_id: str, service: ServiceDependency) -> Response:
    """Give the job as one self-contained page: no script, nothing loaded from anywhere.

    That of a confirmation is its search's, with the policy that it confirmed.
    """
    with service.database.reading() as session:
        text = report_of_job(session, job_id)
    digest = base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(text, headers=headers)
