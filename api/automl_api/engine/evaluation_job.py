"""An evaluation: a policy's network, and the uncut one, scored on data that the search had not."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from automl_api.engine.drivers import ClosableDriver
from automl_api.engine.pipeline import Finished, OwnedJob
from automl_api.settings import Settings
from automl_api.sources import DataSource, ModelSource
from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.data.datasets import SPLIT_NAMES, Normalisation, Split, check_fits
from automl_compress.evaluate.side_by_side import SideBySide
from automl_compress.store import policies

EVENT_SHARE = 0.05  # of the images, between two events


class EvaluationPipeline:
    """Makes the drivers of evaluations."""

    def __init__(self, settings: Settings) -> None:
        """Use the settings of the worker."""
        self._data_dir = settings.data_dir

    def prepare(self, job: OwnedJob) -> "EvaluationDriver":
        """Load the two networks and the data.

        Raises:
            InvalidInput: network, weights or data cannot be used, or not together.
            NotFound: the policy, or an uploaded file, is gone.
        """
        row = job.row()
        told = row.spec["evaluation"]
        with job.database.reading() as session:
            content = policies.get(session, row.policy_id or "").document
        uncut = ModelSource.from_json(row.spec["model"]).load(self._data_dir)
        data = DataSource.from_json(row.spec["dataset"]).load(self._data_dir)
        check_fits(data, tuple(row.spec["model"]["input_shape"]))
        network = None if told["network"] is None else self._data_dir / told["network"]
        compressed = apply_policy(uncut, PolicyDocument.from_json(content), network)
        names = SPLIT_NAMES if told["split"] == "all" else (told["split"],)
        normalisation = _normalisation(told["normalisation"])
        splits = [replace(data.split(name), normalisation=normalisation) for name in names]
        return EvaluationDriver(job, SideBySide(compressed, uncut, splits), splits)


class EvaluationDriver(ClosableDriver):
    """An evaluation that this process works on; another process begins it again."""

    def __init__(self, job: OwnedJob, scores: SideBySide, splits: list[Split]) -> None:
        """Score nothing yet."""
        super().__init__(job)
        self._scores, self._splits = scores, splits
        self._began = time.monotonic()
        self._told = 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Expected time to the last image."""
        done, total = self._scores.done, self._scores.total
        return (time.monotonic() - self._began) * (total - done) / done if done else None

    def advance(self, seconds: float) -> bool:
        """Go on with the images."""
        has_ended = self._scores.advance(seconds)
        share = self._scores.done / self._scores.total
        if has_ended or share - self._told >= EVENT_SHARE:
            self._told = share
            told = {"images": self._scores.done, "of": self._scores.total}
            self._job.publish("evaluation.progress", told)
        return has_ended

    def finalise(self) -> Finished:
        """Say how the networks did."""
        while not self.advance(1.0):  # at once, unless this process only now took the job
            self._go_on()
        row = self._job.row()
        result = {
            "policy_id": row.policy_id,
            "dataset_id": row.dataset_id,
            "split": "; ".join(f"{each.name}: {each.provenance}" for each in self._splits),
            **self._scores.to_json(),
        }
        return Finished(result, "completed")


def _normalisation(told: Mapping[str, Any]) -> Normalisation:
    return Normalisation(tuple(told["mean"]), tuple(told["std"]))
