"""VGG-16 with batch normalisation, for 32x32 images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise

# Widths of configuration D, one tuple between two max pools.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@dataclass(frozen=True)
class VggConfig(ImageConfig):
    """VGG-16; five halvings leave nothing of images under 32 pixels."""

    minimum_size: ClassVar[int] = 32


class Vgg16Bn(nn.Module):
    """13 convolutions of 3x3 with batch normalisation, then one linear layer: 14.7 M parameters.

    Source: Simonyan and Zisserman 2015, table 1, column D. For small images the field replaces
    the three linear layers by one of 512 inputs (Li et al. 2017, "Pruning Filters", section 4.1).
    Convolutions have no bias: the batch normalisation behind each holds one.
    """

    def __init__(self, config: VggConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = config.in_channels
        for widths in _STAGES:
            for width in widths:
                layers.append(nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
                layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                in_channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(in_channels, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


VGG_16_BN = Architecture("vgg-16-bn", VggConfig, Vgg16Bn, image_shape, VggConfig.minimum_size)
