"""The best policy of a job that is within a limit."""

from typing import Any

from sqlalchemy.orm import Session

from automl_api.problem import Problem
from automl_compress.core import Goal, Measurement, Metric
from automl_compress.store import JobKind, JobRow, PolicyRow
from automl_compress.store import policies as policy_rows
from automl_compress.store import trials as trial_rows
from automl_compress.store.jobs import study_of


def best_policy(
    session: Session, job: JobRow, max_ratio: float | None = None, metric: Metric | None = None
) -> PolicyRow:
    """Return the document of the best confirmed policy.

    The job's result lists its policies from the best to the worst, by what they scored on the
    search split after their tuning; the test split has no part in it. Where the search has an
    accuracy floor, those below it are left out.

    Args:
        session: the transaction.
        job: whose policies.
        max_ratio: of the uncut network's cost, which the policy may keep; None for no limit.
        metric: which cost; None for that of the job's budget.

    Raises:
        InvalidInput: the job searches and confirms nothing.
        Problem: nothing is confirmed yet, or nothing is within the limit or reaches the accuracy
            floor (`nothing-fits`).
    """
    study = job.spec["study"] if job.kind is JobKind.CONFIRMATION else study_of(job)
    documents = _best_first(session, job)
    if not documents:
        raise _nothing_confirmed(session, job)
    goal = Goal.of_study(study)
    # Which trial a confirmation is of, its user has said.
    if goal.accuracy_floor is not None and job.kind is not JobKind.CONFIRMATION:
        documents = _at_floor(documents, job, goal)
    cost: str = metric or study["budget"]["metric"]
    if max_ratio is not None:
        documents = _with_cost(documents, job, cost)
    fitting = [row for row in documents if max_ratio is None or _kept(row, cost) <= max_ratio]
    if not fitting:
        nearest = min(documents, key=lambda row: _kept(row, cost))
        kept = _kept(nearest, cost)
        raise Problem(
            404,
            "nothing-fits",
            f"no confirmed policy of job {job.id} keeps at most {max_ratio:.1%} of its {cost}; the "
            f"smallest, {nearest.id}, keeps {kept:.1%}: allow that much, or submit a job with a "
            "smaller budget",
            extensions={"nearest": {"policy_id": nearest.id, "metric": cost, "ratio": kept}},
        )
    return fitting[0]


def _best_first(session: Session, job: JobRow) -> list[PolicyRow]:
    listed = (job.result or {}).get("policies", [])
    rows = {row.id: row for row in policy_rows.of_job(session, job.id)}
    return [rows[each["policy_id"]] for each in listed]


def _at_floor(documents: list[PolicyRow], job: JobRow, goal: Goal) -> list[PolicyRow]:
    """Return the documents whose tuned networks reach the goal on the search split."""
    told = [Measurement.from_json(each["search"]) for each in (job.result or {})["policies"]]
    reaching = [row for row, each in zip(documents, told, strict=True) if goal.is_reached(each)]
    if not reaching:
        floor, nearest = goal.accuracy_floor, documents[0].id
        raise Problem(
            404,
            "nothing-fits",
            f"no confirmed policy of job {job.id} reaches the accuracy floor of {floor:g} on the "
            f"search images; the nearest, {nearest}, has {told[0].accuracy:.4f} there: fetch it by "
            "its id, or search with more evaluations, fine-tuning or a lower floor",
            extensions={"nearest": {"policy_id": nearest, "accuracy": told[0].accuracy}},
        )
    return reaching


def _with_cost(documents: list[PolicyRow], job: JobRow, metric: str) -> list[PolicyRow]:
    """Return the documents that tell this cost; older ones may lack it."""
    telling = [row for row in documents if metric in row.document["totals"]]
    if not telling:
        detail = (
            f"no confirmed policy of job {job.id} tells its {metric}; ask by one of: "
            f"{', '.join(documents[0].document['totals'])}"
        )
        raise Problem(404, "nothing-fits", detail)
    return telling


def _kept(row: PolicyRow, metric: str) -> float:
    return float(row.document["totals"][metric]["ratio"])


def _nothing_confirmed(session: Session, job: JobRow) -> Problem:
    found = trial_rows.best(session, job)
    extensions: dict[str, Any] = {}
    so_far = "none was measured yet"
    if found:
        so_far = f"the best trial so far is {found[0].number} with score {found[0].score:.4f}"
        extensions = {"nearest": {"trial_number": found[0].number, "score": found[0].score}}
    return Problem(
        404,
        "nothing-fits",
        f"job {job.id} is {job.state.value} and has no confirmed policy ({so_far}); wait until it "
        "has succeeded",
        extensions=extensions,
    )
