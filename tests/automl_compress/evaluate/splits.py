"""Made-up images in the shape in which the project sees data."""

import torch

from automl_compress.data.datasets import Normalisation, Split

NORMALISATION = Normalisation((0.5, 0.4, 0.6), (0.2, 0.25, 0.3))


def split(name: str, images: int, seed: int, size: int = 8, classes: int = 4) -> Split:
    """Coloured noise; the labels are drawn."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, 3, size, size), generator=generator)
    labels = torch.randint(0, classes, (images,), generator=generator)
    return Split(
        name, pixels.to(torch.uint8), labels, NORMALISATION, f"made up, rows 0-{images - 1}"
    )
