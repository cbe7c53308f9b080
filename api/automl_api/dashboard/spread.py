"""What several runs of the same search found: mean and spread over their seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from automl_api.jobs.schemas import JobBody
from automl_compress.core.canonical import canonical_json


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; None where one value does not tell it."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Series:
    """Jobs that differ by nothing but their seeds; `jobs` are their places in the comparison.

    Of the best confirmed policy: `accuracy` on the test images, and `drop` from the uncut
    network that was tuned alike. `score` is the best of the search; `evaluations` and `seconds`
    are what it took. None where no job got so far.
    """

    jobs: Sequence[int]
    seeds: Sequence[int]
    accuracy: Spread | None
    drop: Spread | None
    score: Spread | None
    evaluations: Spread | None
    seconds: Spread | None


def by_seed(jobs: Sequence[JobBody], places: Sequence[str]) -> list[Series]:
    """Take jobs together that differ by nothing but their seeds.

    Args:
        jobs: in the order of the comparison.
        places: what tells network and data of each job from others.
    """
    alike: dict[str, list[int]] = {}
    for index, (job, place) in enumerate(zip(jobs, places, strict=True)):
        alike.setdefault(canonical_json([place, _without_seed(job.study)]), []).append(index)
    return [_series(jobs, members) for members in alike.values()]


def spread(values: Sequence[float]) -> Spread | None:
    """Return mean and sample standard deviation; None without values."""
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, len(values))


def _without_seed(study: Any) -> dict[str, Any]:
    recipe = {name: value for name, value in study["recipe"].items() if name != "seed"}
    return {**study, "seed": None, "recipe": recipe}


def _series(jobs: Sequence[JobBody], members: Sequence[int]) -> Series:
    places = sorted(members, key=lambda index: jobs[index].study["seed"])
    jobs = [jobs[index] for index in places]
    results = [job.result for job in jobs if job.result is not None]
    tested = [(each["policies"][0]["test"]["accuracy"], each["baseline"]) for each in results]
    searched = [job.progress.best.score for job in jobs if job.progress.best is not None]
    ended = [job.progress for job in jobs if job.finished is not None]
    return Series(
        jobs=places,
        seeds=[job.study["seed"] for job in jobs],
        accuracy=spread([accuracy for accuracy, _ in tested]),
        drop=spread([uncut["accuracy"] - accuracy for accuracy, uncut in tested]),
        score=spread(searched),
        evaluations=spread([each.evaluations for each in ended]),
        seconds=spread([each.elapsed_seconds for each in ended]),
    )
