"""What earlier jobs took and reached, for those who are about to submit the next one."""

from collections.abc import Iterable
from typing import Any

from automl_compress.store import JobRow


def experience(rows: Iterable[JobRow]) -> list[dict[str, Any]]:
    """Tell what each job took for an evaluation, and what its best confirmed policy scores.

    Args:
        rows: in any order; jobs that evaluated nothing are left out.

    Returns:
        Ids of `model` and `dataset`, the `searcher`, `seconds` for one evaluation, `metric` and
        `ratio` of the budget, and the `accuracy` on the test images, None before there is one.
    """
    told: list[dict[str, Any]] = []
    for row in rows:
        if row.evaluations <= 0:
            continue
        study, confirmed = row.spec["study"], (row.result or {}).get("policies", [])
        told.append(
            {
                "model": row.model_id,
                "dataset": row.dataset_id,
                "searcher": study["searcher"],
                "seconds": round(row.elapsed_seconds / row.evaluations, 4),
                "metric": study["budget"]["metric"],
                "ratio": study["budget"]["ratio"],
                "accuracy": confirmed[0]["test"]["accuracy"] if confirmed else None,
            }
        )
    return told
