"""How a compressed network and the uncut one do on the same images."""

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn

from automl_compress.core.interval import wilson_interval
from automl_compress.data.datasets import Split


class SideBySide:
    """Scores two networks on the same images, a while at a time.

    Attributes:
        total: images in all; `done` of them are scored.
    """

    def __init__(
        self,
        compressed: nn.Module,
        uncut: nn.Module,
        splits: Sequence[Split],
        batch_size: int = 32,
    ) -> None:
        """Begin with the first image.

        Args:
            compressed: maps (B, C, H, W) to logits (B, num_classes); in evaluation mode.
            uncut: likewise.
            splits: one or more; all of their images are used.
            batch_size: small batches stay in the processor's cache.
        """
        self._networks = compressed, uncut
        self._batches = chain.from_iterable(split.batches(batch_size) for split in splits)
        self._correct = [0, 0]
        self._agreed = 0
        self.total, self.done = sum(map(len, splits)), 0

    def advance(self, seconds: float) -> bool:
        """Go on for about so long, one batch at least; return whether all images are scored."""
        end = time.monotonic() + seconds
        with torch.inference_mode():
            for images, labels in self._batches:
                told = [network(images).argmax(1) for network in self._networks]
                for place, classes in enumerate(told):
                    self._correct[place] += int((classes == labels).sum())
                self._agreed += int((told[0] == told[1]).sum())
                self.done += len(labels)
                if time.monotonic() >= end:
                    break
        return self.done == self.total

    def to_json(self) -> dict[str, Any]:
        """Return what the images that are done say; accuracies with their 95 % intervals.

        agreement: the fraction of images that both networks take for the same class.
        """
        compressed, uncut = (_accuracy(correct, self.done) for correct in self._correct)
        agreement = self._agreed / self.done
        return {"compressed": compressed, "uncut": uncut, "agreement": agreement}


def _accuracy(correct: int, total: int) -> dict[str, Any]:
    interval = list(wilson_interval(correct, total))
    return {"accuracy": correct / total, "correct": correct, "total": total, "interval": interval}
