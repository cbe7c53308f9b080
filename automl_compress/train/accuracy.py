"""Accuracy of a network, and how far to trust it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

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
