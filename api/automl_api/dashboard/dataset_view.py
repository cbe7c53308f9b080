"""Everything that the page of a data set shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from automl_api.datasets.schemas import DatasetBody, dataset_body
from automl_api.jobs.schemas import JobBody, job_body
from automl_compress.store import JobKind, browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store.browsing import JobFilter

JOBS_SHOWN = 20


@dataclass(frozen=True)
class DatasetView:
    """A data set and the latest jobs on it."""

    dataset: DatasetBody
    jobs: Sequence[JobBody]


def dataset_view(session: Session, dataset_id: str) -> DatasetView:
    """Read a data set and the jobs on it; raises NotFound."""
    row = dataset_rows.get(session, dataset_id)
    found = browsing.jobs(
        session, JobFilter(dataset_id=dataset_id, kind=JobKind.SEARCH), limit=JOBS_SHOWN
    )
    return DatasetView(dataset_body(row), [job_body(each) for each in found.rows])
