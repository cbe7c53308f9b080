"""What training may do to an image without changing its class."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_compress.core.errors import InvalidInput

_LARGEST_PADDING = 64


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random flips and shifts, declared by the data because only they know what is harmless.

    Attributes:
        flip: mirror half of the images left to right; wrong for digits and letters.
        crop_padding: pixels of black border, of which a random window of the image's own size
            is taken, so a shift by at most this many pixels; 0 (none) to 64.
    """

    flip: bool = False
    crop_padding: int = 0

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for a value out of range."""
        if not isinstance(self.flip, bool):
            raise InvalidInput(f"flip is {self.flip!r}; give True or False")
        padding = self.crop_padding
        if type(padding) is not int or not 0 <= padding <= _LARGEST_PADDING:
            raise InvalidInput(
                f"crop_padding is {padding!r}; give a whole number from 0 to {_LARGEST_PADDING}"
            )


def augment(images: Tensor, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    """Flip and shift each image of a batch on its own.

    Args:
        images: (B, C, H, W) of any type; left as it is.
        augmentation: what is allowed.
        rng: drawn from once for the flips and once for the shifts.

    Returns:
        (B, C, H, W), a new tensor unless nothing is allowed.

    Source: He et al. 2016, "Deep Residual Learning", section 4.2.
    """
    if augmentation.flip:
        is_flipped = torch.from_numpy(rng.random(len(images)) < 0.5).to(images.device)
        images = torch.where(is_flipped[:, None, None, None], images.flip(3), images)
    if augmentation.crop_padding:
        images = _shifted(images, augmentation.crop_padding, rng)
    return images


def _shifted(images: Tensor, padding: int, rng: np.random.Generator) -> Tensor:
    batch, _, height, width = images.shape
    corners = torch.from_numpy(rng.integers(0, 2 * padding + 1, size=(2, batch)))
    top, left = corners.to(images.device)
    padded = F.pad(images, (padding, padding, padding, padding))
    # A view of every window there is, of which indexing copies one an image.
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W)
    return windows[torch.arange(batch, device=images.device), :, top, left]
