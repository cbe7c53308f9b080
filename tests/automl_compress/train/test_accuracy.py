"""Counting what is right, and the interval around it."""

import pytest
import torch
from torch import nn

from automl_compress.core.errors import InvalidInput
from automl_compress.core.interval import wilson_interval
from automl_compress.data.datasets import Normalisation, Split
from automl_compress.train.accuracy import evaluate_accuracy

PLAIN = Normalisation((0.0,), (1.0,))


class BrightOrDark(nn.Module):
    """Class 1 for images brighter than grey; only in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.norm.training
        brightness = x.mean((1, 2, 3))
        return torch.stack([torch.full_like(brightness, 0.5), brightness], 1)


def test_images_classified_rightly_are_counted() -> None:
    images = torch.tensor([0, 255, 255, 0, 255], dtype=torch.uint8).view(5, 1, 1, 1)
    split = Split("search", images, torch.tensor([0, 1, 0, 0, 1]), PLAIN, "made")

    assert evaluate_accuracy(BrightOrDark().train(), split, batch_size=2) == (4, 5)


def test_each_submodule_gets_its_own_mode_back() -> None:
    network = BrightOrDark().train()
    network.norm.eval()
    split = Split("search", torch.zeros(1, 1, 1, 1).byte(), torch.tensor([0]), PLAIN, "made")

    evaluate_accuracy(network, split)

    assert network.training
    assert not network.norm.training


@pytest.mark.parametrize(
    ("correct", "total", "expected"),
    [
        # Newcombe 1998, "Two-sided confidence intervals", table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0000)),  # the mirror image of 0 of 20
    ],
)
def test_wilson_interval_agrees_with_newcombe(
    correct: int, total: int, expected: tuple[float, float]
) -> None:
    assert wilson_interval(correct, total) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("correct", "total", "confidence"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)]
)
def test_interval_of_impossible_counts_is_refused(
    correct: int, total: int, confidence: float
) -> None:
    with pytest.raises(InvalidInput, match="has no interval"):
        wilson_interval(correct, total, confidence)
