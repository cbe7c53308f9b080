"""DenseNet-BC-100 with growth rate 12, for 32x32 images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise

_GROWTH_RATE = 12
_LAYERS_PER_BLOCK = (100 - 4) // 6  # three blocks of two convolutions a layer, and four others


class DenseLayer(nn.Module):
    """A bottleneck that adds `_GROWTH_RATE` channels to what it was given."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, 4 * _GROWTH_RATE, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * _GROWTH_RATE)
        self.conv2 = nn.Conv2d(4 * _GROWTH_RATE, _GROWTH_RATE, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C + 12, H, W)."""
        new = self.conv1(F.relu(self.bn1(x)))
        new = self.conv2(F.relu(self.bn2(new)))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """Halves the channels and the image."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C // 2, H // 2, W // 2)."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DensenetBc100(nn.Module):
    """Three dense blocks of 16 bottlenecks: 769,162 parameters with ten classes.

    Source: Huang et al. 2017, "Densely Connected Convolutional Networks", section 3, and table 2
    (DenseNet-BC, k = 12, depth 100: 0.8 M parameters); without dropout, as trained there with
    augmentation.
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        channels = 2 * _GROWTH_RATE
        layers: list[nn.Module] = [
            nn.Conv2d(config.in_channels, channels, 3, padding=1, bias=False)
        ]
        for block in range(3):
            if block > 0:
                layers.append(Transition(channels))
                channels //= 2
            for _ in range(_LAYERS_PER_BLOCK):
                layers.append(DenseLayer(channels))
                channels += _GROWTH_RATE
        self.features = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.relu(self.bn(self.features(x)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


DENSENET_BC_100 = Architecture(
    "densenet-bc-100", ImageConfig, DensenetBc100, image_shape, ImageConfig.minimum_size
)
