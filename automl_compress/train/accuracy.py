"""Accuracy of a network, and how far to trust it."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from statistics import NormalDist

import torch
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import Split


def evaluate_accuracy(module: nn.Module, split: Split, batch_size: int = 32) -> tuple[int, int]:
    """Count the images that a network classifies rightly.

    Args:
        module: maps (B, C, H, W) to logits (B, num_classes); left as it was.
        split: all of its images are used.
        batch_size: small batches stay in the processor's cache.

    Returns:
        How many are right, of how many.
    """
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    correct = 0
    with evaluating(module), torch.inference_mode():
        for images, labels in split.batches(batch_size):
            correct += count_correct(module(images.to(device)), labels.to(device))
    return correct, len(split)


def count_correct(logits: Tensor, labels: Tensor) -> int:
    """Count the rows of (B, num_classes) whose largest entry is at their label (B,)."""
    return int((logits.argmax(1) == labels).sum())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode, and each submodule back to its own mode afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, was_training in modes:
            each.training = was_training


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the interval that holds the true accuracy with this confidence.

    Args:
        correct: 0 to `total`.
        total: images scored, 1 or more.
        confidence: above 0, below 1.

    Returns:
        Lower and upper end, fractions in [0, 1].

    Raises:
        InvalidInput: an argument out of range.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference",
    JASA 22; unlike the normal interval, right also near 0 and 1 and for few images.
    """
    if total < 1 or not 0 <= correct <= total or not 0 < confidence < 1:
        raise InvalidInput(
            f"{correct} right of {total} at confidence {confidence} has no interval; give "
            "0 <= correct <= total, total of 1 or more, and 0 < confidence < 1"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    margin = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)
