"""A job's report as a text, for an answer or a file: no script, nothing loaded from anywhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from automl_api.dashboard import STATIC_FOLDER
from automl_api.dashboard.job_view import JobView, Table, job_view
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
from automl_compress.store import jobs, points
from automl_compress.store.points import Point
from automl_compress.store.states import JobState


def report_of_job(session: Session, job_id: str) -> str:
    """Return the report of a search, or of the search whose trial a confirmation confirms.

    Raises:
        NotFound: there is no such job.
        InvalidInput: the job is neither.
    """
    row = jobs.get(session, job_id)
    if row.search_id is not None:
        number = row.spec["confirmation"]["trial_number"]
        return report_of_policy(session, row.search_id, number, row.result)
    return _text(job_view(session, job_id, Table()), points.points(session, job_id))


def stylesheet() -> str:
    """Return the style that the page holds."""
    return (STATIC_FOLDER / "report.css").read_text()


def report_of_policy(
    session: Session, search_id: str, trial_number: int, result: Mapping[str, Any] | None
) -> str:
    """Return the report of a search that shows one of its confirmed policies.

    Args:
        session: the transaction.
        search_id: the search.
        trial_number: which of its trials the policy is.
        result: what the job that confirmed the trial ends with, which need not be stored yet and
            needs no more than `baseline` and of each of `policies` its `trial_number` and `test`;
            None where nothing was confirmed.

    Raises:
        NotFound: there is no such job, or it has no such trial.
    """
    view = job_view(session, search_id, Table(chosen=trial_number))
    if result is not None:
        told = {"result": result, "status": JobState.SUCCEEDED.value}
        job = view.job.model_copy(update=told)
        view = replace(view, job=job, confirmed=result["policies"])
    return _text(view, points.points(session, search_id))


def _text(view: JobView, found: Sequence[Point]) -> str:
    return render_text(
        "report.html",
        view=view,
        style=stylesheet(),
        study=json.dumps(view.job.study, indent=2),
        picture=picture_of(view, found),
        size=(WIDTH, HEIGHT),
        frame=(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
    )
