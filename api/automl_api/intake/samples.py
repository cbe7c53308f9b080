"""Some images of a data set as small PNG files, to look at."""

import base64
import io
from collections import Counter
from typing import Any

from PIL import Image
from torch import Tensor

from automl_compress.data.datasets import Split

MOST_IMAGES = 40
LARGEST_SIDE = 96  # pixels
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def samples_of(split: Split, num_classes: int) -> list[dict[str, Any]]:
    """Return the first images of each class, by rising label.

    Args:
        split: whose images.
        num_classes: among which `MOST_IMAGES` are shared out, at least one for each that is
            among the first of them.

    Returns:
        `label`, `place` in the split, and the PNG in base64. Images larger than `LARGEST_SIDE`
        are made smaller; of those with 2 channels, or more than 4, the first channel is shown.
    """
    each = max(1, MOST_IMAGES // num_classes)
    taken: Counter[int] = Counter()
    chosen: list[tuple[int, int]] = []
    for place, label in enumerate(split.labels.numpy().astype(int)):
        if taken[label] < each:
            taken[label] += 1
            chosen.append((int(label), place))
    return [
        {"label": label, "place": place, "png": _png(split.images[place])}
        for label, place in sorted(chosen)[:MOST_IMAGES]
    ]


def _png(image: Tensor) -> str:
    """Encode uint8 (C, H, W), or a signal (C, L), whose channels become rows."""
    mode = _MODES.get(len(image)) if image.dim() == 3 else "L"
    if image.dim() == 2:
        image = image[None]
    pixels = image[0] if mode in (None, "L") else image.permute(1, 2, 0)
    picture = Image.fromarray(pixels.contiguous().numpy(), mode or "L")
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    written = io.BytesIO()
    picture.save(written, "png")
    return base64.b64encode(written.getvalue()).decode()
