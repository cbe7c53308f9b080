"""The checkpoint that ships with the package: ResNet-20 on scikit-learn's digits."""

from dataclasses import asdict, dataclass
from pathlib import Path

from automl_compress import networks
from automl_compress.data.loading import load_data
from automl_compress.networks.architectures import build_network
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.checkpoint import write_checkpoint
from automl_compress.train.config import TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.randomness import seeded
from automl_compress.train.report import TrainingReport
from automl_compress.train.training import train

DEMO_ARCHITECTURE = "resnet-20"
DEMO_CONFIG = {"in_channels": 1, "num_classes": 10, "image_size": 8}
DEMO_DATA = "digits"
DEMO_TRAINING = TrainingConfig(epochs=30, batch_size=64, learning_rate=0.1)
DEMO_WEIGHTS = Path(networks.__path__[0]) / "weights" / "resnet-20-digits.safetensors"


@dataclass(frozen=True, slots=True)
class DemoCheckpoint:
    """What `train_demo_checkpoint` made.

    Attributes:
        path: the safetensors file.
        report: how the training went.
        search_correct: images of the search split classified rightly.
        search_total: images of the search split.
    """

    path: Path
    report: TrainingReport
    search_correct: int
    search_total: int


def train_demo_checkpoint(path: Path, progress: ProgressCallback | None = None) -> DemoCheckpoint:
    """Train the demo's network and write it with everything needed to use it again.

    The JSON in the file's metadata, under `document`, names the architecture, its config, the
    data with their splits and normalisation, the training, and the accuracy on the search split.
    The test split is not looked at.

    Raises:
        StorageFailed: the disk did not take the file.
    """
    data = load_data(DEMO_DATA)
    with seeded(DEMO_TRAINING.seed):
        network = build_network(DEMO_ARCHITECTURE, DEMO_CONFIG)
    report = train(network, data, DEMO_TRAINING, progress=progress)
    correct, total = evaluate_accuracy(network, data.split("search"))
    document = {
        "architecture": DEMO_ARCHITECTURE,
        "config": DEMO_CONFIG,
        "data": DEMO_DATA,
        "normalisation": asdict(data.normalisation),
        "augmentation": asdict(data.augmentation),
        "training": asdict(DEMO_TRAINING),
        "trained_on": report.provenance,
        "search_split": data.split("search").provenance,
        "search_correct": correct,
        "search_total": total,
    }
    write_checkpoint(path, network.state_dict(), document)
    return DemoCheckpoint(path, report, correct, total)
