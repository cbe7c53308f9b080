"""Everything that the page of a job shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from automl_api.artifacts.endpoints import ArtifactBody, artifact_body
from automl_api.jobs.schemas import EventBody, JobBody, TrialBody, event_body, job_body, trial_body
from automl_api.models.schemas import ModelBody, model_body
from automl_api.models.sensitivity import SensitivityBody, sensitivity_body
from automl_compress.core import kept_channels
from automl_compress.core.errors import NotFound
from automl_compress.store import artifacts as artifact_rows
from automl_compress.store import browsing
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store import probes as probe_rows
from automl_compress.store import trials as trial_rows
from automl_compress.store.browsing import NumberedPage
from automl_compress.store.tables import JobRow, ModelRow, TrialRow

HEAT_MAP_ROWS = 12
TRIALS_ON_A_PAGE = 25
EVENTS_SHOWN = 50


@dataclass(frozen=True)
class Table:
    """What of a job's trials is wanted; `chosen` is a trial's number."""

    column: str = "number"
    is_falling: bool = True
    number: int = 1
    chosen: int | None = None


@dataclass(frozen=True)
class Bar:
    """What a policy leaves of one group."""

    group: str
    kept: int
    channels: int

    @property
    def ratio(self) -> float:
        """The share of the channels that is kept."""
        return self.kept / self.channels


@dataclass(frozen=True)
class Layered:
    """A trial whose policy is shown group by group."""

    trial: TrialBody
    bars: Sequence[Bar]


@dataclass(frozen=True)
class JobView:
    """A job with what its page needs.

    confirmed: the entries of the job's result, the best first.
    doing: the latest trial's note, in the searcher's own words.
    """

    job: JobBody
    model: ModelBody
    dataset_name: str
    page: NumberedPage[TrialRow]
    trials: Sequence[TrialBody]
    best: Sequence[Layered]
    chosen: Layered | None
    confirmed: Sequence[Mapping[str, Any]]
    doing: str
    events: Sequence[EventBody]
    artifacts: Sequence[ArtifactBody]


def job_view(session: Session, job_id: str, table: Table) -> JobView:
    """Read a job and what lies below it.

    Raises:
        NotFound: there is no such job, or no such trial of it.
        InvalidInput: the trials cannot be sorted like this.
    """
    row = job_rows.get(session, job_id)
    model = model_rows.get(session, row.model_id)
    channels = {each["name"]: each["channels"] for each in model.details["graph"]["groups"]}
    page = browsing.trials(
        session,
        job_id,
        column=table.column,
        is_falling=table.is_falling,
        number=table.number,
        limit=TRIALS_ON_A_PAGE,
    )
    best = [_layered(each, channels) for each in trial_rows.best(session, job_id, HEAT_MAP_ROWS)]
    latest = browsing.latest_trial(session, job_id)
    events = browsing.latest_events(session, job_id, EVENTS_SHOWN)
    return JobView(
        job=job_body(row),
        model=model_body(model),
        dataset_name=dataset_rows.get(session, row.dataset_id).name,
        page=page,
        trials=[trial_body(each) for each in page.rows],
        best=best,
        chosen=_chosen(session, row, table.chosen, best, channels),
        confirmed=(row.result or {}).get("policies", []),
        doing="" if latest is None else latest.note,
        events=[event_body(each) for each in events],
        artifacts=[artifact_body(each) for each in artifact_rows.of_job(session, job_id)],
    )


def sensitivity_of(session: Session, job_id: str) -> SensitivityBody | None:
    """Return the profile of a job's network on its data, where there is one with curves."""
    row = job_rows.get(session, job_id)
    model: ModelRow = model_rows.get(session, row.model_id)
    try:
        found = sensitivity_body(model, probe_rows.of_model(session, model.id, row.dataset_id))
    except NotFound:
        return None
    return found if any(curve.points for curve in found.groups) else None


def _chosen(
    session: Session,
    job: JobRow,
    number: int | None,
    best: Sequence[Layered],
    channels: Mapping[str, int],
) -> Layered | None:
    """Return the trial of this number, or without one the best: a confirmed one comes first."""
    if number is None and job.result is not None:
        number = job.result["policies"][0]["trial_number"]
    if number is None:
        return best[0] if best else None
    row = browsing.trial(session, job.id, number)
    if row is None:
        raise NotFound(f"job {job.id} has no trial {number}; its page lists them")
    return _layered(row, channels)


def _layered(row: TrialRow, channels: Mapping[str, int]) -> Layered:
    bars = [_bar(choice, channels[choice["group"]]) for choice in row.policy]
    return Layered(trial_body(row), bars)


def _bar(choice: Mapping[str, Any], channels: int) -> Bar:
    told = choice.get("kept")
    kept = kept_channels(channels, choice["sparsity"]) if told is None else len(told)
    return Bar(choice["group"], kept, channels)
