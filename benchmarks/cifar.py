"""CIFAR-10 (JPEG q75) and the checkpoints to compress, read in place."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

from automl_compress.data.datasets import IMAGENET_NORMALISATION, ImageData
from automl_compress.data.loading import load_data
from automl_compress.data.rows import DataOptions
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.train.accuracy import evaluate_accuracy

SEARCH_IMAGES = 1000  # rows of the search split that score candidates; the others choose nothing
# Of trainings: bfloat16 halves the hours on processors that multiply it, and more than doubles them
# on those that don't. Cells say which it was; what is compared is trained in one of them.
PRECISION = "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
SHARED = Path(
    os.environ.get("AUTOML_COMPRESS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
)


def cifar(max_train_images: int | None = None) -> ImageData:
    """Load the images; end the program with a reason where they are absent."""
    folder = SHARED / "cifar10-jpeg"
    if not folder.is_dir():
        sys.exit(
            f"skipped: {folder} is absent; set AUTOML_COMPRESS_SHARED_DATA to the folder that "
            "holds cifar10-jpeg/ and cifar10-resnet/"
        )
    options = DataOptions(
        name="cifar-10-jpeg-q75",
        normalisation=IMAGENET_NORMALISATION,
        max_train_images=max_train_images,
    )
    return load_data(folder, options)


def accuracies(module: nn.Module, data: ImageData) -> dict[str, float]:
    """Score a tuned network on the images that chose nothing and, once, on the test split."""
    fresh = evaluate_accuracy(module, data.split("search").subset(SEARCH_IMAGES, 5000))
    test = evaluate_accuracy(module, data.split("test"))
    return {"fresh_accuracy": fresh[0] / fresh[1], "test_accuracy": test[0] / test[1]}


def resnet(depth: int) -> nn.Module:
    """Load the ResNet of this depth that was fine-tuned on the JPEG images."""
    module = build_network(f"resnet-{depth}")
    load_weights(module, SHARED / "cifar10-resnet" / f"resnet{depth}-jpeg.safetensors")
    return module.eval()
