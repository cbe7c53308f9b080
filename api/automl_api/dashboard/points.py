"""What the front of a job's page is drawn from, in as few bytes as it takes."""

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from automl_api.dashboard.fronts import searcher_of
from automl_api.service import ServiceDependency
from automl_compress.core.budget import METRICS
from automl_compress.store import confirmations, events, jobs, points
from automl_compress.store.points import Point

CONFIRMED = "trial.confirmed"

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}/points")
def get_points(job_id: str, request: Request, service: ServiceDependency) -> Response:
    """Give what the trials cost and scored, a list for each figure.

    `seq` is the event behind which the stream of events tells what came since.
    """
    with service.database.reading() as session:
        # Read first: what is stored meanwhile is told twice rather than never.
        row = jobs.get(session, job_id)
        seq, study = row.event_count, jobs.study_of(row)
        found = points.points(session, job_id)
        later = [each.id for each in confirmations.of_search(session, job_id)]
        told = [events.of_kinds(session, each, [CONFIRMED]) for each in (job_id, *later[::-1])]
        confirmed = [each.data for rows in told for each in rows]
    content = json.dumps({"seq": seq, "confirmed": confirmed, **_columns(study, found)})
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    body = content.encode()
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
    return Response(body, media_type="application/json", headers=headers)


def _columns(study: Mapping[str, Any], found: Sequence[Point]) -> dict[str, Any]:
    return {
        "number": [each.number for each in found],
        "evaluations": [round(each.evaluations, 2) for each in found],
        "score": [round(each.score, 6) for each in found],
        "accuracy": [round(each.accuracy, 6) for each in found],
        "searcher": [searcher_of(study, each.note) for each in found],
        "cost": {
            metric: costs
            for place, metric in enumerate(METRICS)
            if any(costs := [each.cost[place] for each in found])
        },
    }
