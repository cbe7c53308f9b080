"""Made-up images in the shape in which the project sees data, and networks that take them."""

import torch
from torch import nn

from automl_compress.data.datasets import Normalisation, Split
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks.counting import settled

NORMALISATION = Normalisation((0.5, 0.4, 0.6), (0.2, 0.25, 0.3))


def split(name: str, images: int, seed: int, size: int = 8, classes: int = 4) -> Split:
    """Coloured noise; the labels are drawn."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, 3, size, size), generator=generator)
    labels = torch.randint(0, classes, (images,), generator=generator)
    return Split(
        name, pixels.to(torch.uint8), labels, NORMALISATION, f"made up, rows 0-{images - 1}"
    )


def traced(module: nn.Module, size: int = 8) -> Network:
    """Trace a network for such images, its normalisations settled."""
    return trace(settled(module, (3, size, size)), (3, size, size))
