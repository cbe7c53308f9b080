"""Everything that the page of a job shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from automl_api.artifacts.endpoints import ArtifactBody, artifact_body
from automl_api.dashboard.policy_view import bits_text
from automl_api.jobs.logs import log_line
from automl_api.jobs.schemas import EventBody, JobBody, TrialBody, event_body, job_body, trial_body
from automl_api.jobs.stages import StageBody, stages_of
from automl_api.jobs.uncut import uncut_costs
from automl_compress.core import TrialState, kept_channels
from automl_compress.core.budget import counted
from automl_compress.core.errors import NotFound
from automl_compress.store import artifacts as artifact_rows
from automl_compress.store import browsing, confirmations
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
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
class Listed:
    """A trial in the table; `said` is why it failed, or else why the searcher asked for it."""

    number: int
    state: TrialState
    role: str
    score: float | None
    accuracy: float | None
    cost: Mapping[str, int]
    said: str


@dataclass(frozen=True)
class Bar:
    """What a policy leaves of one group; `bits` are of the layers whose outputs it is."""

    group: str
    kept: int
    channels: int
    bits: str = ""

    @property
    def ratio(self) -> float:
        """The share of the channels that is kept."""
        return self.kept / self.channels


@dataclass(frozen=True)
class Changed:
    """What a policy makes of one layer's weights and inputs, besides its channels."""

    layer: str
    sparsity: float
    bits: str


@dataclass(frozen=True)
class Layered:
    """A trial whose policy is shown group by group."""

    trial: TrialBody
    bars: Sequence[Bar]
    changed: Sequence[Changed]
    is_on_front: bool = False


Groups = Mapping[str, Mapping[str, Any]]  # of a network, by name, as its row tells them
Files = tuple[str, Sequence[ArtifactBody]]  # a heading, which may be empty, and files below it


@dataclass(frozen=True)
class JobView:
    """A job with what its page needs.

    full: what the uncut network costs, by metric.
    shown: the front, which are the trials that no other one beats in both the budget's cost and
        score, filled up with the best of the others; the best score first.
    confirmed: the entries of the job's result, the best first.
    confirmations: jobs that confirm further trials, the newest first.
    stages: what each stage gave, where confirmations go by them.
    doing: what happens to the latest trial, and why the searcher asked for it.
    """

    job: JobBody
    model: ModelRow
    full: Mapping[str, int]
    dataset_name: str
    page: NumberedPage[TrialRow]
    trials: Sequence[Listed]
    shown: Sequence[Layered]
    chosen: Layered | None
    confirmed: Sequence[Mapping[str, Any]]
    confirmations: Sequence[JobBody]
    stages: Sequence[StageBody]
    doing: str
    events: Sequence[EventBody]
    files: Sequence[Files]

    @property
    def log(self) -> str:
        """The end of the job's log, the newest line last."""
        return "\n".join(log_line(each) for each in reversed(self.events))

    @property
    def policy_of_chosen(self) -> str | None:
        """The policy that confirming the chosen trial gave; that of the search itself first."""
        for each in (*self.confirmed, *self._confirmed_later()):
            if self.chosen is not None and each["trial_number"] == self.chosen.trial.number:
                return each["policy_id"]
        return None

    def _confirmed_later(self) -> list[Mapping[str, Any]]:
        return [each for job in self.confirmations if job.result for each in job.result["policies"]]


def job_view(session: Session, job_id: str, table: Table) -> JobView:
    """Read a job and what lies below it.

    Raises:
        NotFound: there is no such job, or no such trial of it.
        InvalidInput: the trials cannot be sorted like this, or the job is no search.
    """
    row = job_rows.get(session, job_id)
    model = model_rows.get(session, row.model_id)
    groups = {each["name"]: each for each in model.details["graph"]["groups"]}
    shown = _shown(session, row, groups)
    chosen = _chosen(session, row, table.chosen, shown, groups)
    # Behind those that are shown with their policies: a row is read once, and these lack theirs.
    page = browsing.trials(
        session,
        job_id,
        column=table.column,
        is_falling=table.is_falling,
        number=table.number,
        limit=TRIALS_ON_A_PAGE,
    )
    is_newest_first = (table.column, table.is_falling, page.number) == ("number", True, 1)
    latest = (
        next(iter(page.rows), None) if is_newest_first else browsing.latest_trial(session, job_id)
    )
    events = browsing.latest_events(session, job_id, EVENTS_SHOWN)
    made = [each for each in artifact_rows.of_job(session, job_id) if each.removed_at is None]
    return JobView(
        job=job_body(row),
        model=model,
        full=uncut_costs(row, model),
        dataset_name=dataset_rows.get(session, row.data_id).name,
        page=page,
        trials=[_listed(each) for each in page.rows],
        shown=shown,
        chosen=chosen,
        confirmed=(row.result or {}).get("policies", []),
        confirmations=[job_body(each) for each in confirmations.of_search(session, job_id)],
        stages=_stages(session, row),
        doing=_doing(latest),
        events=[event_body(each) for each in events],
        files=_files(row, [artifact_body(each) for each in made]),
    )


def _files(job: JobRow, artifacts: Sequence[ArtifactBody]) -> list[Files]:
    """Return the files of each confirmed policy, then the others; one policy needs no heading."""
    policies = (job.result or {}).get("policies", [])
    if len(policies) < 2:
        return [("", artifacts)]
    owned = {name for policy in policies for name in policy["artifacts"]}
    grouped = [
        (
            f"Trial {policy['trial_number']}",
            [each for each in artifacts if each.name in policy["artifacts"]],
        )
        for policy in policies
    ]
    return [*grouped, ("The whole job", [each for each in artifacts if each.name not in owned])]


def _stages(session: Session, job: JobRow) -> Sequence[StageBody]:
    """Return the stages of a recipe that has some: all events are gone through for them."""
    recipe = job_rows.study_of(job)["confirmation"].get("recipe", "at_once")
    return () if recipe == "at_once" else stages_of(session, job.id)


def _listed(row: TrialRow) -> Listed:
    measured = row.measurement or {}
    return Listed(
        row.number,
        row.state,
        row.role,
        row.score,
        measured.get("accuracy"),
        counted(measured.get("cost", {})),
        row.failure or row.note,
    )


def _doing(latest: TrialRow | None) -> str:
    if latest is None:
        return "the searcher chooses the first policy"
    kind = "a probe, which finds out and cannot win" if latest.role == "probe" else "a candidate"
    why = f": {latest.note}" if latest.note else ""
    if latest.state is TrialState.RUNNING:
        return f"trial {latest.number}, {kind}, is measured{why}"
    return f"the searcher chooses what comes after trial {latest.number}, {kind}{why}"


def _shown(session: Session, job: JobRow, groups: Groups) -> list[Layered]:
    metric = job_rows.study_of(job)["budget"]["metric"]
    front = browsing.front(session, job.id, metric, HEAT_MAP_ROWS)
    numbers = {row.number for row in front}
    best = trial_rows.best(session, job, HEAT_MAP_ROWS) if len(front) < HEAT_MAP_ROWS else ()
    rows = [*front, *(row for row in best if row.number not in numbers)][:HEAT_MAP_ROWS]
    rows.sort(key=lambda row: -(row.score or 0.0))
    return [replace(_layered(row, groups), is_on_front=row.number in numbers) for row in rows]


def _chosen(
    session: Session,
    job: JobRow,
    number: int | None,
    shown: Sequence[Layered],
    groups: Groups,
) -> Layered | None:
    """Return the trial of this number, or without one the best: a confirmed one comes first."""
    if number is None:
        confirmed = None if job.result is None else job.result["policies"][0]
        number = job.best_number if confirmed is None else confirmed["trial_number"]
    if number is None:
        return shown[0] if shown else None
    row = browsing.trial(session, job.id, number)
    if row is None:
        raise NotFound(f"job {job.id} has no trial {number}; its page lists them")
    return _layered(row, groups)


def _layered(row: TrialRow, groups: Groups) -> Layered:
    policy: Any = row.policy
    changed = [
        Changed(each["layer"], each["sparsity"], bits_text(each)) for each in policy["layers"]
    ]
    bits = {each.layer: each.bits for each in changed}
    bars = [_bar(choice, groups[choice["group"]], bits) for choice in policy["groups"]]
    return Layered(trial_body(row), bars, changed)


def _bar(choice: Mapping[str, Any], group: Mapping[str, Any], bits: Mapping[str, str]) -> Bar:
    told, channels = choice.get("kept"), group["channels"]
    kept = kept_channels(channels, choice["sparsity"]) if told is None else len(told)
    layers = group["producers"] if any(bits.values()) else ()
    of_layers = dict.fromkeys(bits.get(layer) or "float" for layer in layers)
    return Bar(choice["group"], kept, channels, "; ".join(of_layers))
