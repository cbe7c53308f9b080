"""What other jobs measured of the same network, on the same data, under the same recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from automl_compress.core import Measurement, Recalled, Recipe, Suggestion, TrialState
from automl_compress.store.database import Database
from automl_compress.store.tables import JobRow, TrialRow
from automl_compress.store.trials import policy_digest

MOST_LOOKED_AT = 50  # trials of one policy; those of one recipe are equal


@dataclass(frozen=True)
class SqlRecall:
    """Finds measurements of other jobs; a `Recall` of core.

    job_id: whose study asks; its own trials are not looked at.
    dataset_id: the job's.
    fingerprint: of graph and weights, as the model's row has it; None finds nothing.
    recipe: the job's.
    images: of a full evaluation.
    evaluations: what scoring on so many images costs, in full proxy evaluations.
    """

    database: Database
    job_id: str
    dataset_id: str
    fingerprint: Mapping[str, Any] | None
    recipe: Recipe
    images: int
    evaluations: Callable[[int], float]

    def __call__(self, suggestion: Suggestion, first_image: int) -> Recalled | None:
        """Find a measurement on exactly the images that are asked for."""
        if self.fingerprint is None:
            return None
        wanted = self.images if suggestion.images is None else min(suggestion.images, self.images)
        for number, stored, job_id, spec in self._rows(suggestion):
            measurement = Measurement.from_json(stored)
            if measurement.total == wanted and self._is_comparable(measurement, spec):
                effort = self.evaluations(wanted - first_image)
                source = f"job {job_id}, trial {number}"
                return Recalled(replace(measurement, evaluations=effort), source)
        return None

    def _rows(self, suggestion: Suggestion) -> list[Any]:
        query = (
            select(TrialRow.number, TrialRow.measurement, JobRow.id, JobRow.spec)
            .join(JobRow, JobRow.id == TrialRow.job_id)
            .where(
                TrialRow.policy_digest == policy_digest(suggestion.policy),
                TrialRow.state == TrialState.COMPLETE,
                JobRow.dataset_id == self.dataset_id,
                JobRow.id != self.job_id,
            )
            .order_by(TrialRow.job_id, TrialRow.number)
            .limit(MOST_LOOKED_AT)
        )
        with self.database.reading() as session:
            return [tuple(row) for row in session.execute(query)]

    def _is_comparable(self, measurement: Measurement, spec: Mapping[str, Any]) -> bool:
        same_network = spec["model"].get("fingerprint") == self.fingerprint
        return same_network and measurement.recipe == self.recipe
