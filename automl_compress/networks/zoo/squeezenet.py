"""SqueezeNet for 32x32 images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise

# (squeeze, expand) channels of the fire modules of v1.1, one tuple between two max pools.
_STAGES = (
    ((16, 64), (16, 64)),
    ((32, 128), (32, 128)),
    ((48, 192), (48, 192), (64, 256), (64, 256)),
)


@dataclass(frozen=True)
class SqueezenetConfig(ImageConfig):
    """SqueezeNet; its three overlapping max pools need 16 pixels."""

    minimum_size: ClassVar[int] = 16


class Fire(nn.Module):
    """A 1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, 2 * expand, H, W)."""
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class Squeezenet(nn.Module):
    """Eight fire modules and a convolutional classifier; no linear layer, no batch normalisation.

    Source: Iandola et al. 2016, "SqueezeNet", section 3, in its authors' v1.1 widths. Adapted to
    32x32 images: the stem has stride 1 and padding 1, so that a 4x4 map reaches the average pool.
    Left out: dropout, and the ReLU behind the classifier, which with ten classes silences whole
    classes in the first steps of training. The parameters are those of v1.1 (1,235,496 with
    1,000 classes and colour images).
    """

    def __init__(self, config: SqueezenetConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(config.in_channels, 64, 3, padding=1),
            nn.ReLU(inplace=True),
        ]
        in_channels = 64
        for stage in _STAGES:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            for squeeze, expand in stage:
                layers.append(Fire(in_channels, squeeze, expand))
                in_channels = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(in_channels, config.num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = self.classifier(self.features(x))
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


SQUEEZENET = Architecture(
    "squeezenet", SqueezenetConfig, Squeezenet, image_shape, SqueezenetConfig.minimum_size
)
