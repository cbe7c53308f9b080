"""What a job does between its profile and its search.

Its trials get their limits, and a PruningNet is trained, told as events.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from automl_api.engine.pipeline import OwnedJob
from automl_api.settings import Settings
from automl_compress.core import CompressionSpace, Recipe, StudySpec
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.limits import TrialLimits, default_seconds
from automl_compress.networks.trace import Network
from automl_compress.store import JobState
from automl_compress.train.progress import TrainingProgress
from automl_compress.train.pruning_net import TrainedPruningNet, prepare_pruning_net

FOLDER = "pruning-nets"  # in the data directory; files are named by what they depend on
EVENT_SHARE = 0.02  # of the training, between two events
LOOK_SECONDS = 0.5  # how soon a job notices that its user paused or cancelled it


class TrainingEvents:
    """Tells a job's training as `pruning_net.progress`, and ends it when the job is stopped."""

    def __init__(self, job: OwnedJob, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now."""
        self._job, self._clock = job, clock
        self._began = self._looked = clock()
        self._first: int | None = None  # batches done before, in an earlier process
        self._told = 0.0

    def __call__(self, progress: TrainingProgress) -> None:
        """Take note of a batch.

        Raises:
            JobTaken: the job was paused or cancelled, or belongs to another execution.
            WrongState: this process stops.
        """
        now = self._clock()
        done = (progress.epoch - 1) * progress.batches + progress.batch
        first = self._first = done - 1 if self._first is None else self._first
        share = done / (progress.epochs * progress.batches)
        is_looking = now - self._looked >= LOOK_SECONDS
        if is_looking:
            self._looked = now
            self._job.go_on()
        if (is_looking and share - self._told >= EVENT_SHARE) or share >= 1.0:
            self._told = share
            left = progress.epochs * progress.batches - done
            eta_seconds = left * (now - self._began) / (done - first)
            told = {"share": share, "eta_seconds": eta_seconds, **asdict(progress)}
            self._job.publish("pruning_net.progress", told)


def prepared_pruning_net(
    job: OwnedJob,
    settings: Settings,
    network: Network,
    data: ImageData,
    space: CompressionSpace,
    recipe: Recipe,
) -> TrainedPruningNet | None:
    """Train the PruningNet of a job, or take one that an earlier job left; None without one.

    Raises:
        JobTaken: the job was paused or cancelled; it goes on behind the last whole epoch.
        InvalidInput: the network is too large, or the training diverged.
        StorageFailed: the disk did not take a file.
    """
    if recipe.pruning_net is None:
        return None
    job.enter(JobState.PROFILING)
    folder = settings.pruning_nets_dir or settings.data_dir / FOLDER
    progress = TrainingEvents(job)
    trained = prepare_pruning_net(network, data, space, recipe, folder, progress)
    if trained is not None and job.row().state is JobState.PROFILING:
        told = {"is_reused": trained.is_reused, **trained.to_json()}
        job.publish("pruning_net.ready", told)
    return trained


def trial_limits(
    study: StudySpec, baseline: Mapping[str, Any] | None, settings: Settings
) -> TrialLimits:
    """Return what one trial of a job may take: what the job asks for, the operator's limit at most.

    Where neither says how long, the measured time of the uncut network does, once for the images
    that score a candidate and as often as its repair forwards others.
    """
    effort, recipe = study.effort, study.recipe
    seconds = _lowest(effort.trial_seconds, settings.trial_seconds)
    if seconds is None and baseline is not None and "wall_seconds" in baseline:
        repaired = recipe.repair_passes * recipe.calibration_images / baseline["total"]
        seconds = default_seconds((1.0 + repaired) * baseline["wall_seconds"])
    memory = _lowest(effort.trial_memory_bytes, settings.trial_memory_bytes)
    return TrialLimits(seconds, None if memory is None else int(memory))


def _lowest(*limits: float | None) -> float | None:
    return min((each for each in limits if each is not None), default=None)
