"""What a training did."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch did.

    Attributes:
        epoch: from 1.
        loss: mean over its batches' images.
        train_accuracy: fraction, on the augmented images, while the weights changed.
        holdout_accuracy: fraction, after the epoch; None without held-out images.
        seconds: wall clock.
        cpu_seconds: of this process, all threads.
    """

    epoch: int
    loss: float
    train_accuracy: float
    holdout_accuracy: float | None
    seconds: float
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training did.

    Attributes:
        epochs: in order, also those from before a resume.
        kept_epoch: whose weights the network has now.
        is_stopped_early: patience ran out.
        provenance: which images were trained on.
    """

    epochs: tuple[EpochReport, ...]
    kept_epoch: int
    is_stopped_early: bool
    provenance: str
