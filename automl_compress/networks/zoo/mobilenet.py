"""MobileNetV1 and V2 for 32x32 images, and V2 for large ones."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape, require_number
from automl_compress.networks.zoo.initialise import initialise

# (output channels, stride) of each separable convolution: Howard et al. 2017, table 1.
_V1_LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# (expansion, output channels, blocks, first stride): Sandler et al. 2018, table 2.
_EARLY_CHANNELS = 24  # the stage whose stride follows the size of the images
_V2_STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


@dataclass(frozen=True)
class MobilenetConfig(ImageConfig):
    """A MobileNet.

    Attributes:
        width_multiplier: factor on all channel counts, 0.1 to 4; the papers use 0.25 to 1.4.
    """

    minimum_size: ClassVar[int] = 8

    width_multiplier: float = 1.0

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        super().__post_init__()
        require_number("width_multiplier", self.width_multiplier, 0.1, 4)


@dataclass(frozen=True)
class LargeMobilenetConfig(MobilenetConfig):
    """A MobileNet for large images: MobileNetV2-1.4 as published unless set otherwise."""

    minimum_size: ClassVar[int] = 32

    num_classes: int = 1000
    image_size: int = 224
    width_multiplier: float = 1.4


class MobilenetV1(nn.Module):
    """13 depthwise separable convolutions; 3.2 M parameters with ten classes.

    Source: Howard et al. 2017, "MobileNets", table 1. For 32x32 images the stem's stride is 1,
    so that a 2x2 map reaches the average pool.
    """

    def __init__(self, config: MobilenetConfig) -> None:
        super().__init__()
        in_channels = _thinned(32, config.width_multiplier)
        layers = _normalised_convolution(config.in_channels, in_channels, 3, 1, nn.ReLU)
        for channels, stride in _V1_LAYERS:
            width = _thinned(channels, config.width_multiplier)
            layers += _depthwise(in_channels, stride, nn.ReLU)
            layers += _normalised_convolution(in_channels, width, 1, 1, nn.ReLU)
            in_channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(in_channels, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; a shortcut where shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers = []
        if expansion != 1:
            layers += _normalised_convolution(in_channels, hidden, 1, 1, nn.ReLU6)
        layers += _depthwise(hidden, stride, nn.ReLU6)
        layers += _normalised_convolution(hidden, out_channels, 1, 1, None)
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H/stride), ceil(W/stride))."""
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


class MobilenetV2(nn.Module):
    """17 inverted residual blocks; 2.2 M parameters with ten classes, 88 M MACs at 32x32.

    Source: Sandler et al. 2018, "MobileNetV2", table 2. For 32x32 images the strides of the stem
    and of the 24-channel stage are 1 instead of 2, so that a 4x4 map reaches the average pool;
    without dropout in front of the classifier.
    """

    def __init__(self, config: MobilenetConfig, *, early_stride: int) -> None:
        super().__init__()
        multiplier = config.width_multiplier
        in_channels = _multiple_of_eight(32 * multiplier)
        layers = _normalised_convolution(config.in_channels, in_channels, 3, early_stride, nn.ReLU6)
        for expansion, channels, blocks, first_stride in _V2_STAGES:
            width = _multiple_of_eight(channels * multiplier)
            for block in range(blocks):
                stride = first_stride if block == 0 else 1
                if channels == _EARLY_CHANNELS:
                    stride = min(stride, early_stride)
                layers.append(InvertedResidual(in_channels, width, stride, expansion))
                in_channels = width
        # The last layer only grows: section 4 keeps it at 1,280 for multipliers below one.
        last = _multiple_of_eight(1280 * max(1.0, multiplier))
        layers += _normalised_convolution(in_channels, last, 1, 1, nn.ReLU6)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(last, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def _normalised_convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int, activation: type | None
) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
    return layers if activation is None else [*layers, activation(inplace=True)]


def _depthwise(channels: int, stride: int, activation: type) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        activation(inplace=True),
    ]


def _thinned(channels: int, width_multiplier: float) -> int:
    return max(8, int(channels * width_multiplier))


def _multiple_of_eight(width: float) -> int:
    """Round to the nearest multiple of 8, up where that would lose more than a tenth."""
    nearest = max(8, 8 * int(width / 8 + 0.5))
    return nearest if nearest >= 0.9 * width else nearest + 8


MOBILENET_V1 = Architecture(
    "mobilenet-v1", MobilenetConfig, MobilenetV1, image_shape, MobilenetConfig.minimum_size
)
MOBILENET_V2 = Architecture(
    "mobilenet-v2",
    MobilenetConfig,
    partial(MobilenetV2, early_stride=1),
    image_shape,
    MobilenetConfig.minimum_size,
)
MOBILENET_V2_14 = Architecture(
    "mobilenet-v2-1.4",
    LargeMobilenetConfig,
    partial(MobilenetV2, early_stride=2),
    image_shape,
    LargeMobilenetConfig.minimum_size,
)
