"""Trained networks that the checkpoints beside the images do not hold; trained here, once.

`python -m benchmarks.networks NAME` trains one; a stopped training goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.checkpoint import write_checkpoint
from automl_compress.train.config import TrainingConfig
from automl_compress.train.progress import tqdm_progress
from automl_compress.train.randomness import seeded
from automl_compress.train.training import train
from benchmarks import cifar
from benchmarks.records import RESULTS

FOLDER = RESULTS / "networks"
EPOCHS = {"plain-20": 12, "mobilenet-v2": 4}


def trained(name: str) -> nn.Module:
    """Return the trained network; raises FileNotFoundError until it was trained."""
    module = build_network(name)
    load_weights(module, FOLDER / f"{name}.safetensors")
    return module.eval()


def train_network(name: str) -> Path:
    """Train on the train split alone; search and test split are not looked at."""
    data: ImageData = replace(cifar.cifar(), augmentation=Augmentation(True, 4))
    config = TrainingConfig(epochs=EPOCHS[name], learning_rate=0.1, precision=cifar.PRECISION)
    with seeded(config.seed):
        module = build_network(name)
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = FOLDER / f"{name}.partial"
    with tqdm_progress() as progress:
        report = train(module, data, config, checkpoint=partial, progress=progress)
    correct, total = evaluate_accuracy(module, data.split("search"))
    document = {"trained_on": report.provenance, "search_accuracy": correct / total}
    path = FOLDER / f"{name}.safetensors"
    write_checkpoint(path, module.state_dict(), document)
    partial.unlink()
    print(f"{name}: {correct / total:.4f} on the search split")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(EPOCHS))
    torch.set_num_threads(1)
    train_network(parser.parse_args().name)
