"""What training tells while it runs, and a bar that shows it on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from automl_compress.data.optional import require


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The state after one batch.

    Attributes:
        epoch: 1 to `epochs`.
        epochs: at most so many.
        batch: 1 to `batches`, within the epoch.
        batches: of one epoch.
        loss: mean of the epoch so far.
        train_accuracy: fraction of the epoch's images so far, on augmented images.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    train_accuracy: float


ProgressCallback = Callable[[TrainingProgress], None]


@contextmanager
def tqdm_progress(description: str = "training") -> Iterator[ProgressCallback]:
    """Show a progress bar on standard error.

    Yields:
        What to give `train` as `progress`.

    Raises:
        InvalidInput: tqdm isn't installed.
    """
    tqdm = require("tqdm.auto", "tqdm", "the progress bar").tqdm
    with tqdm(desc=description, unit="batch") as bar:

        def show(progress: TrainingProgress) -> None:
            bar.total = progress.epochs * progress.batches
            bar.set_postfix_str(
                f"epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.3f}, "
                f"train accuracy {progress.train_accuracy:.1%}",
                refresh=False,
            )
            bar.update((progress.epoch - 1) * progress.batches + progress.batch - bar.n)

        yield show
